#!/bin/bash
# Makes the messages and keys of this folder anew with GnuPG and Python; every key is thrown away afterwards.
set -euo pipefail
out=$(cd "$(dirname "$0")" && pwd)
GNUPGHOME=$(mktemp -d)
export GNUPGHOME
trap 'gpgconf --kill all; rm -rf "$GNUPGHOME"' EXIT
g() { gpg --quiet --batch --yes --no-tty --pinentry-mode loopback --passphrase '' --trust-model always "$@"; }
digest=$(sha256sum "$out/../signed-pgp-alice/manifest.json" | cut -d' ' -f1)
payload() { # identity digest
    printf '{"critical":{"identity":{"docker-reference":"%s"},"image":{"docker-manifest-digest":"sha256:%s"},"type":"atomic container signature"},"optional":{}}' "$1" "$2"
}
payload registry.securecp.test/plain:v1 "$digest" > "$GNUPGHOME/good"
past=20200601T000000
old() { g --faked-system-time "$past" "$@"; }
fpr() { gpg --batch --with-colons --list-secret-keys "=$1" | awk -F: '/^fpr/{print $10}' | sed -n "${2:-1}p"; }
publish() { g --export "=$1@securecp.test" > "$out/key-$1.gpg"; }
sign() { g --local-user "=$1@securecp.test" --output "$out/$2.sig" "${@:3}" --sign "$GNUPGHOME/good"; }

old --quick-gen-key rsa@securecp.test rsa2048 sign never
old --quick-gen-key ed@securecp.test ed25519 sign never
old --quick-gen-key sub@securecp.test rsa2048 cert never
old --quick-add-key "$(fpr sub@securecp.test)" rsa2048 sign never
old --quick-gen-key expired@securecp.test ed25519 sign 1y
old --quick-gen-key subexpired@securecp.test ed25519 cert never
old --quick-add-key "$(fpr subexpired@securecp.test)" ed25519 sign 1y
for name in hard soft noreason; do old --quick-gen-key $name@securecp.test ed25519 sign never; done
old --quick-gen-key subrevoked@securecp.test ed25519 cert never
old --quick-add-key "$(fpr subrevoked@securecp.test)" ed25519 sign never
old --quick-gen-key stranger@securecp.test ed25519 sign never
old --cert-digest-algo SHA1 --quick-gen-key selfsha1@securecp.test rsa2048 sign never
old --quick-gen-key rsa1024@securecp.test rsa1024 sign never
old --quick-gen-key nist@securecp.test nistp384 sign never
old --quick-gen-key brainpool@securecp.test brainpoolP256r1 sign never
old --quick-gen-key crypt@securecp.test rsa2048 encrypt never 2>/dev/null || old --quick-gen-key crypt@securecp.test rsa2048 default never

sign rsa valid-rsa
sign ed valid-ed25519
sign sub valid-subkey
sign nist valid-nistp384
sign selfsha1 key-selfsigned-sha1
sign rsa1024 key-rsa1024
sign brainpool key-brainpool
sign rsa valid-uncompressed --compress-algo none
sign rsa valid-zlib --compress-algo zlib
sign rsa valid-bzip2 --compress-algo bzip2
sign rsa valid-text --textmode
sign rsa valid-sha224 --digest-algo SHA224
sign rsa weak-sha1 --digest-algo SHA1
sign rsa weak-ripemd160 --digest-algo RIPEMD160
sign rsa weak-md5 --digest-algo MD5 --allow-weak-digest-algos || true
sign stranger unknown-key
sign rsa expired-signature --faked-system-time 20200602T000000 --default-sig-expire 1d
sign rsa future-signature --faked-system-time 20450101T000000
sign expired expired-key --faked-system-time 20200602T000000
sign subexpired expired-subkey --faked-system-time 20200602T000000
for name in hard soft noreason; do sign $name revoked-$name --faked-system-time 20200602T000000; done
sign subrevoked revoked-subkey --faked-system-time 20200602T000000
g --local-user rsa@securecp.test --local-user =ed@securecp.test --output "$out/two-signers.sig" --sign "$GNUPGHOME/good"
g --armor --local-user rsa@securecp.test --output "$out/armoured.sig" --sign "$GNUPGHOME/good"
g --local-user rsa@securecp.test --output "$out/clear-signed.sig" --clear-sign "$GNUPGHOME/good"
g --local-user rsa@securecp.test --output "$out/detached.sig" --detach-sign "$GNUPGHOME/good"
g --output "$out/unsigned.sig" --store "$GNUPGHOME/good"
g --recipient crypt@securecp.test --output "$out/encrypted.sig" --encrypt "$GNUPGHOME/good"
g --local-user rsa@securecp.test --recipient crypt@securecp.test --output "$out/encrypted-signed.sig" --sign --encrypt "$GNUPGHOME/good"
other() { g --local-user rsa@securecp.test --output "$out/$1.sig" --sign; }
payload registry.securecp.test/plain:v2 "$digest" | other wrong-tag
payload elsewhere.test/plain:v1 "$digest" | other wrong-host
payload UPPER "$digest" | other wrong-reference
payload registry.securecp.test/plain:v1 "$(printf '0%.0s' {1..64})" | other wrong-digest
printf 'This is not JSON\n' | other not-json
payload registry.securecp.test/plain:v1 "$digest" | sed 's/"type"/"more":1,"type"/' | other foreign-member

# revocations that come after the signatures
revoke() { # name reason
    printf 'y\n%s\n\ny\n' "$2" | gpg --quiet --yes --no-tty --pinentry-mode loopback --passphrase '' --faked-system-time 20200701T000000 \
        --command-fd 0 --output "$GNUPGHOME/$1.rev" --gen-revoke "$1@securecp.test" 2>/dev/null
    g --import "$GNUPGHOME/$1.rev"
}
revoke noreason 0
revoke hard 1
revoke soft 2
printf 'key 1\nrevkey\ny\n2\n\ny\nsave\n' | gpg --quiet --yes --no-tty --pinentry-mode loopback --passphrase '' --faked-system-time 20200701T000000 \
    --command-fd 0 --edit-key subrevoked@securecp.test 2>/dev/null
for name in rsa ed sub expired subexpired hard soft noreason subrevoked stranger selfsha1 rsa1024 nist brainpool; do publish $name; done

python3 - "$out" <<'PY'
import sys, zlib
out = sys.argv[1]
read = lambda n: open(f"{out}/{n}.sig", "rb").read()
def write(n, b): open(f"{out}/{n}.sig", "wb").write(b)
plain = read("valid-uncompressed")
flipped = bytearray(plain); flipped[-5] ^= 1
write("corrupt-signature", bytes(flipped))
at = plain.index(b"plain:v1")
changed = bytearray(plain); changed[at + 7] = ord("2")
write("corrupt-content", bytes(changed))
write("truncated", plain[:-20])
write("concatenated", plain + plain)
write("trailing-junk", plain + b"junk")
write("trailing-packet", plain + bytes([0xca, 3]) + b"PGP")
def compress(b): # old-format packet of indeterminate length, raw deflate
    c = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"\xa3\x01" + c.compress(b) + c.flush()
write("compressed-twice", compress(compress(plain)))
literal = lambda n: bytes([0xcb, 0xff]) + n.to_bytes(4, "big") + b"b\0\0\0\0\0" + bytes(n - 6)
write("bomb-literal", compress(literal(200 << 20)))
marker = bytes([0xca, 3]) + b"PGP"
write("bomb-markers", compress(marker * (1 << 20)))
nested = literal(64 << 20)
for _ in range(12): nested = compress(nested)
write("bomb-nested", nested)
PY
