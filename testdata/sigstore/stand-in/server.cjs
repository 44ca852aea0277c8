// Loopback stand-in for Fulcio (v1 and v2 API, e-mail or URI SAN), Rekor (v1 and v2) and an RFC 3161 TSA (openssl ts),
// built from the parts of @sigstore/mock. usage: node server.cjs PORT OUT_DIR
// Writes rekor.pub, ctfe.pub, fulcio-root.pem, tsa-chain.pem and trusted_root.json into OUT_DIR. Any JWT is accepted: never a real service.
require('reflect-metadata');
const express=require('express'), crypto=require('crypto'), fs=require('fs');
const x509=require('@peculiar/x509'); const {Crypto}=require('@peculiar/webcrypto'); const wc=new Crypto(); x509.cryptoProvider.set(wc);
const asn1js=require('asn1js'); const jose=require('jose');
const {initializeTLog,rekorHandler,rekorV2Handler,initializeCTLog}=require('@sigstore/mock');
const PORT=+process.argv[2]||9999, OUT=process.argv[3]||'.';
const ALG={name:'ECDSA',namedCurve:'P-256',hash:'SHA-256'};
(async()=>{
 const rk=crypto.generateKeyPairSync('ec',{namedCurve:'prime256v1'}); const tlog=await initializeTLog(`http://127.0.0.1:${PORT}`,rk);
 fs.writeFileSync(OUT+'/rekor.pub',rk.publicKey.export({type:'spki',format:'pem'}));
 const ctk=crypto.generateKeyPairSync('ec',{namedCurve:'prime256v1'}); const ctlog=await initializeCTLog(ctk);
 fs.writeFileSync(OUT+'/ctfe.pub',ctk.publicKey.export({type:'spki',format:'pem'}));
 // the TSA is openssl itself: RFC 3161 in DER, two-certificate chain in tsa-chain.pem
 const sh=(a)=>require('child_process').execFileSync('openssl',a,{stdio:['ignore','pipe','pipe']}); const ec=['-newkey','ec','-pkeyopt','ec_paramgen_curve:prime256v1','-nodes'];
 fs.writeFileSync(OUT+'/tsa.ext','extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\nbasicConstraints=CA:false\n'); fs.writeFileSync(OUT+'/tsa.serial','01\n');
 sh(['req','-x509',...ec,'-keyout',OUT+'/tsaroot.key','-out',OUT+'/tsaroot.pem','-subj','/O=sigstore.mock/CN=tsa root','-days','365']);
 sh(['req',...ec,'-keyout',OUT+'/tsa.key','-out',OUT+'/tsa.csr','-subj','/O=sigstore.mock/CN=tsa']);
 sh(['x509','-req','-in',OUT+'/tsa.csr','-CA',OUT+'/tsaroot.pem','-CAkey',OUT+'/tsaroot.key','-CAcreateserial','-days','365','-extfile',OUT+'/tsa.ext','-out',OUT+'/tsa.pem']);
 fs.writeFileSync(OUT+'/tsa.cnf',`[tsa]\ndefault_tsa=t\n[t]\nserial=${OUT}/tsa.serial\nsigner_cert=${OUT}/tsa.pem\nsigner_key=${OUT}/tsa.key\nsigner_digest=sha256\ndefault_policy=1.3.6.1.4.1.57264.2\nother_policies=1.3.6.1.4.1.57264.2\ndigests=sha256,sha384,sha512\naccuracy=secs:1\nordering=no\ntsa_name=no\ness_cert_id_chain=no\ness_cert_id_alg=sha256\n`);
 const derOf=(f)=>Buffer.from(fs.readFileSync(OUT+f,'utf8').replace(/-----[^-]+-----/g,'').replace(/\s/g,''),'base64');
 fs.writeFileSync(OUT+'/tsa-chain.pem',fs.readFileSync(OUT+'/tsa.pem','utf8')+fs.readFileSync(OUT+'/tsaroot.pem','utf8'));
 const ck=await wc.subtle.generateKey(ALG,true,['sign','verify']);
 const root=await x509.X509CertificateGenerator.createSelfSigned({serialNumber:'01',name:'CN=mock-root,O=sigstore.mock',notBefore:new Date(Date.now()-864e5),notAfter:new Date(Date.now()+864e5*365),keys:ck,signingAlgorithm:ALG,extensions:[new x509.BasicConstraintsExtension(true,1,true),new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign|x509.KeyUsageFlags.cRLSign,true),await x509.SubjectKeyIdentifierExtension.create(ck.publicKey,false,wc)]},wc);
 fs.writeFileSync(OUT+'/fulcio-root.pem',root.toString('pem')+'\n');
 const spki=await wc.subtle.exportKey('spki',ck.publicKey); const issuerID=await wc.subtle.digest({name:'SHA-256'},spki);
 async function issue(pubDer,claims){
  const key=await wc.subtle.importKey('spki',pubDer,ALG,true,['verify']); const now=new Date();
  const san=claims.email?{type:'email',value:claims.email}:{type:'url',value:claims.sub};
  const tbs={serialNumber:crypto.randomBytes(8).toString('hex').replace(/^./,'1'),subject:'',notBefore:now,notAfter:new Date(+now+6e5),issuer:root.subject,publicKey:key,signingAlgorithm:ALG,signingKey:ck.privateKey,extensions:[
   new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature,true),new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.codeSigning]),new x509.SubjectAlternativeNameExtension([san],true),
   await x509.SubjectKeyIdentifierExtension.create(key,false,wc), await x509.AuthorityKeyIdentifierExtension.create(ck.publicKey,false,wc),
   new x509.Extension('1.3.6.1.4.1.57264.1.1',false,Buffer.from(claims.iss)),
   new x509.Extension('1.3.6.1.4.1.57264.1.8',false,new asn1js.Utf8String({value:claims.iss}).toBER(false))]};
  const pre=await x509.X509CertificateGenerator.create(tbs,wc); const sct=await ctlog.log(pre.rawData,issuerID);
  const sb=Buffer.from(sct); const list=Buffer.concat([Buffer.from([0,sb.length]),sb]);
  // SCT list: 2-byte total length + (2-byte len + sct)
  tbs.extensions.push(new x509.Extension('1.3.6.1.4.1.11129.2.4.2',false,new asn1js.OctetString({valueHex:list}).toBER(false)));
  return (await x509.X509CertificateGenerator.create(tbs,wc)).toString('pem')+'\n';
 }
 const app=express(); app.use(express.raw({type:()=>true,limit:'5mb'})); app.use((q,r,n)=>{console.log(q.method,q.url,(q.body||'').length);n()});
 const keyFrom=(c)=>Buffer.from(c.replace(/-----[^-]+-----/g,'').replace(/\s/g,''),'base64');
 app.post('/api/v1/signingCert',async(q,r)=>{ try{ const j=JSON.parse(q.body); const claims=jose.decodeJwt(q.headers.authorization.slice(7)); const der=Buffer.from(j.publicKey.content,'base64');
   const subj=claims.email||claims.sub; const pk=crypto.createPublicKey({key:der,format:'der',type:'spki'}); if(!crypto.verify('sha256',Buffer.from(subj),pk,Buffer.from(j.signedEmailAddress,'base64'))) return r.status(400).send('bad proof');
   r.status(201).type('application/pem-certificate-chain').send(await issue(der,claims)+root.toString('pem')+'\n'); }catch(e){console.log(e);r.status(400).send(e.message)} });
 app.post('/api/v2/signingCert',async(q,r)=>{ try{ const j=JSON.parse(q.body); const claims=jose.decodeJwt(j.credentials?.oidcIdentityToken||q.headers.authorization.slice(7)); let der; if(j.publicKeyRequest) der=keyFrom(j.publicKeyRequest.publicKey.content); else { const csr=new x509.Pkcs10CertificateRequest(Buffer.from(j.certificateSigningRequest,'base64').toString()); der=Buffer.from(csr.publicKey.rawData);} 
   r.status(201).json({signedCertificateEmbeddedSct:{chain:{certificates:[await issue(der,claims),root.toString('pem')+'\n']}}}); }catch(e){console.log(e);r.status(400).send(e.message)} });
 const h=rekorHandler(tlog,{strict:true}); const sha=(d)=>({algorithm:'sha256',value:crypto.createHash('sha256').update(d).digest('hex')});
 app.post(h.path,async(q,r)=>{ try{ let j=JSON.parse(q.body); if(j.kind==='dsse'){ const c=j.spec.proposedContent, e=JSON.parse(c.envelope); j={apiVersion:'0.0.1',kind:'dsse',spec:{envelopeHash:sha(c.envelope),payloadHash:sha(Buffer.from(e.payload,'base64')),signatures:e.signatures.map((s,i)=>({signature:s.sig,verifier:c.verifiers[i]}))}}; } r.status(201).json(await tlog.log(j)); }catch(e){console.log(e);r.status(400).send(e.message)} });
 const {TransparencyLogEntry}=require('@sigstore/protobuf-specs');
 app.post('/api/v2/log/entries',async(q,r)=>{ try{ const j=JSON.parse(q.body); let b; if(j.hashedRekordRequestV002){ const c=j.hashedRekordRequestV002; b={apiVersion:'0.0.2',kind:'hashedrekord',spec:{hashedRekordV002:{data:{algorithm:'SHA2_256',digest:c.digest},signature:c.signature}}}; } else { const c=j.dsseRequestV002; b={apiVersion:'0.0.2',kind:'dsse',spec:{dsseV002:{payloadHash:{algorithm:'SHA2_256',digest:crypto.createHash('sha256').update(Buffer.from(c.envelope.payload,'base64')).digest('base64')},signatures:c.envelope.signatures.map((s,i)=>({content:s.sig,verifier:c.verifiers[i]}))}}}; }
   const e=TransparencyLogEntry.toJSON(await tlog.logV2(b)); e.kindVersion={kind:b.kind,version:'0.0.2'}; e.logIndex='0'; e.integratedTime='0'; e.inclusionProof.logIndex='0'; e.inclusionProof.hashes=[]; r.status(201).json(e); }catch(e){console.log(e);r.status(400).send(e.message)} });
 app.post('/api/v1/timestamp',(q,r)=>{ try{ fs.writeFileSync(OUT+'/ts.q',q.body); sh(['ts','-reply','-config',OUT+'/tsa.cnf','-queryfile',OUT+'/ts.q','-out',OUT+'/ts.r']); r.status(201).type('application/timestamp-reply').send(fs.readFileSync(OUT+'/ts.r')); }catch(e){console.log(e.message);r.status(400).send(e.message)} });
 const start=new Date(Date.now()-864e5).toISOString(); const b64=(d)=>Buffer.from(d).toString('base64'); const spkiOf=(k)=>k.publicKey.export({type:'spki',format:'der'});
 const log=(k,url)=>({baseUrl:url,hashAlgorithm:'SHA2_256',publicKey:{rawBytes:b64(spkiOf(k)),keyDetails:'PKIX_ECDSA_P256_SHA_256',validFor:{start}},logId:{keyId:b64(crypto.createHash('sha256').update(spkiOf(k)).digest())}});
 const base=`http://127.0.0.1:${PORT}`; const subject={organization:'sigstore.mock',commonName:'mock'};
 fs.writeFileSync(OUT+'/trusted_root.json',JSON.stringify({mediaType:'application/vnd.dev.sigstore.trustedroot+json;version=0.1',tlogs:[log(rk,base)],
  certificateAuthorities:[{subject,uri:base,certChain:{certificates:[{rawBytes:b64(root.rawData)}]},validFor:{start}}],ctlogs:[log(ctk,base)],
  timestampAuthorities:[{subject,uri:base+'/api/v1/timestamp',certChain:{certificates:[{rawBytes:b64(derOf('/tsa.pem'))},{rawBytes:b64(derOf('/tsaroot.pem'))}]},validFor:{start}}]},null,2));
 app.listen(PORT,'127.0.0.1',()=>console.log('up',PORT));
})();
