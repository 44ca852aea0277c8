"""Verifies with PyPI sigstore that a bundle says of a manifest that it is signed.

usage: verify.py TRUSTED_ROOT BUNDLE MANIFEST EMAIL ISSUER
"""
import hashlib
import json
import sys

from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity

root, bundle, manifest, email, issuer = sys.argv[1:]
bundle = Bundle.from_json(open(bundle, "rb").read())
verifier = Verifier(trusted_root=TrustedRoot.from_file(root))
kind, payload = verifier.verify_dsse(bundle, Identity(identity=email, issuer=issuer))
statement = json.loads(payload)
digest = hashlib.sha256(open(manifest, "rb").read()).hexdigest()
assert kind == "application/vnd.in-toto+json", kind
assert statement["predicateType"] == "https://sigstore.dev/cosign/sign/v1", statement
assert [subject["digest"] for subject in statement["subject"]] == [{"sha256": digest}], statement
print("verified", digest)
