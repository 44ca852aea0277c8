"""Makes the bundles beside it with PyPI sigstore 4.5.1 against a loopback stand-in for Fulcio, Rekor and a TSA.

usage: make.py URL TRUSTED_ROOT.json (both from the stand-in)
"""
import hashlib, json, os, sys, time
from datetime import datetime, timedelta, timezone
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from sigstore.dsse import StatementBuilder, Subject
from sigstore.models import ClientTrustConfig
from sigstore.oidc import IdentityToken
from sigstore.sign import SigningContext

url, root_path = sys.argv[1:]
here = os.path.dirname(os.path.abspath(__file__))
manifest = open(here + "/../../trust/signed-sigstore/manifest.json", "rb").read()
digest = hashlib.sha256(manifest).hexdigest()
root = json.load(open(root_path))
json.dump(root, open(here + "/trusted_root.json", "w"), indent=1)
start = (datetime.now(timezone.utc) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


def service(path, version):
    return [{"url": url + path, "majorApiVersion": version, "validFor": {"start": start}, "operator": "mock"}]


def context(rekor_version, tsa):
    config = {
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": root,
        "signingConfig": {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": service("", 1),
            "oidcUrls": service("", 1),
            "rekorTlogUrls": service("", rekor_version),
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaUrls": service("/api/v1/timestamp", 1) if tsa else [],
            "tsaConfig": {"selector": "ANY"},
        },
    }
    return SigningContext.from_trust_config(ClientTrustConfig.from_json(json.dumps(config)))


def token(**claims):
    now = int(time.time())
    claims = {"iss": "https://issuer.securecp.test", "aud": "sigstore", "iat": now, "exp": now + 300, "sub": "subject", **claims}
    key = ec.generate_private_key(ec.SECP256R1())
    return IdentityToken(jwt.encode(claims, key, algorithm="ES256"))


def statement(predicate_type, hexdigest):
    subject = Subject(name="", digest={"sha256": hexdigest})
    return StatementBuilder().subjects([subject]).predicate_type(predicate_type).predicate({}).build()


SIGN = "https://sigstore.dev/cosign/sign/v1"
email = {"email": "release@securecp.test", "email_verified": True}
workflow = {"sub": "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main"}
for name, version, tsa, claims, act in [
    ("message-rekor1", 1, False, email, lambda s: s.sign_artifact(manifest)),
    ("message-rekor1-tsa", 1, True, email, lambda s: s.sign_artifact(manifest)),
    ("message-rekor2", 2, True, email, lambda s: s.sign_artifact(manifest)),
    ("sign-rekor1", 1, False, email, lambda s: s.sign_dsse(statement(SIGN, digest))),
    ("sign-rekor2", 2, True, email, lambda s: s.sign_dsse(statement(SIGN, digest))),
    ("sign-workflow", 1, False, workflow, lambda s: s.sign_dsse(statement(SIGN, digest))),
    ("sign-other", 1, False, email, lambda s: s.sign_dsse(statement(SIGN, "0" * 64))),
    ("attest-rekor1", 1, False, email, lambda s: s.sign_dsse(statement("https://slsa.dev/provenance/v1", digest))),
]:
    try:
        with context(version, tsa).signer(token(**claims)) as signer:
            open(f"{here}/{name}.json", "w").write(act(signer).to_json())
        print("made", name)
    except Exception as error:
        print("failed", name, repr(error)[:300])
