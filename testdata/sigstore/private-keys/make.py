"""Makes the key files beside it: PyNaCl 1.6.2, cryptography 50.0.2, openssl 3.0.19. All keys are throw-away."""
import base64, hashlib, json, os, subprocess, tempfile, textwrap
import nacl.secret
from cryptography.hazmat.primitives.asymmetric import ec, rsa, ed25519
from cryptography.hazmat.primitives import serialization as s
out=os.path.dirname(os.path.abspath(__file__))+'/'
tmp=tempfile.mkdtemp()
PASS=b'correct horse'
def lock(der, n, r=8, p=1, passphrase=PASS):
    salt=os.urandom(32); nonce=os.urandom(24)
    key=hashlib.scrypt(passphrase,salt=salt,n=n,r=r,p=p,maxmem=1<<30,dklen=32)
    box=nacl.secret.SecretBox(key).encrypt(der,nonce).ciphertext
    b=lambda x: base64.b64encode(x).decode()
    return {"kdf":{"name":"scrypt","params":{"N":n,"r":r,"p":p},"salt":b(salt)},"cipher":{"name":"nacl/secretbox","nonce":b(nonce)},"ciphertext":b(box)}
def pem(label,text):
    body=base64.b64encode(text.encode()).decode()
    return "-----BEGIN %s-----\n%s\n-----END %s-----\n"%(label,"\n".join(textwrap.wrap(body,64)),label)
C='ENCRYPTED COSIGN PRIVATE KEY'; S='ENCRYPTED SIGSTORE PRIVATE KEY'
def der(key): return key.private_bytes(s.Encoding.DER,s.PrivateFormat.PKCS8,s.NoEncryption())
def write(name,label,doc,key=None):
    open(out+name+'.key','w').write(pem(label,doc if isinstance(doc,str) else json.dumps(doc,separators=(',',':'))))
    if key is not None:
        open(out+name+'.pub','wb').write(key.public_key().public_bytes(s.Encoding.PEM,s.PublicFormat.SubjectPublicKeyInfo))
p256=ec.generate_private_key(ec.SECP256R1())
write('p256',S,lock(der(p256),65536),p256)
k=ec.generate_private_key(ec.SECP384R1()); write('p384',C,lock(der(k),65536),k)
k=ec.generate_private_key(ec.SECP521R1()); write('p521',S,lock(der(k),65536),k)
k=rsa.generate_private_key(65537,2048); write('rsa2048',S,lock(der(k),65536),k)
k=ed25519.Ed25519PrivateKey.generate(); write('ed25519',S,lock(der(k),65536),k)
k=p256
write('legacy-cost',C,lock(der(k),32768),k); write('owasp-cost',S,lock(der(k),131072),k)
write('empty-passphrase',C,lock(der(k),65536,passphrase=b''),k)
open(tmp+'/k.pem','wb').write(k.private_bytes(s.Encoding.PEM,s.PrivateFormat.TraditionalOpenSSL,s.NoEncryption()))
subprocess.run('openssl ec -in k.pem -no_public -out k2.pem && openssl pkcs8 -topk8 -nocrypt -in k2.pem -outform DER -out k2.der',shell=True,check=True,cwd=tmp)
write('no-public-part',C,lock(open(tmp+'/k2.der','rb').read(),65536),k)
# refused
good=lock(der(k),32768)
def changed(f):
    d=json.loads(json.dumps(good)); f(d); return d
def setp(**kw):
    return lambda d: d['kdf']['params'].update(kw)
write('bad-cost-n',C,changed(setp(N=16384))); write('bad-cost-huge',C,changed(setp(N=1<<40)))
write('bad-cost-r',C,changed(setp(r=16))); write('bad-cost-p',C,changed(setp(p=2)))
write('bad-cost-missing',C,changed(lambda d:d['kdf'].pop('params')))
write('bad-kdf',C,changed(lambda d:d['kdf'].update(name='pbkdf2')))
write('bad-cipher',C,changed(lambda d:d['cipher'].update(name='aes')))
write('bad-nonce',C,changed(lambda d:d['cipher'].update(nonce='AAAA')))
write('bad-salt',C,changed(lambda d:d['kdf'].update(salt='?')))
write('bad-ciphertext',C,changed(lambda d:d.update(ciphertext='AAAA')))
write('bad-twice',C,json.dumps(good)[:-1]+',"ciphertext":"AAAA"}')
write('bad-json',C,'{')
write('bad-content',C,lock(b'not a key',32768))
write('bad-curve',C,lock(der(ec.generate_private_key(ec.SECP256K1())),32768))
write('bad-label','ENCRYPTED PRIVATE KEY',good)
open(out+'bad-not-encrypted.key','wb').write(k.private_bytes(s.Encoding.PEM,s.PrivateFormat.PKCS8,s.NoEncryption()))
