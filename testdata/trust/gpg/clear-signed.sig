-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA512

{"critical":{"identity":{"docker-reference":"registry.securecp.test/plain:v1"},"image":{"docker-manifest-digest":"sha256:352fb370f4a9978d04c14127b3b855dcc981475071b5902d8b006a00ca515d6f"},"type":"atomic container signature"},"optional":{}}
-----BEGIN PGP SIGNATURE-----

iQFGBAEBCgAwFiEEtM1zooojbTokEs5wSjls33vxSx0FAmsBO3kSHHJzYUBzZWN1
cmVjcC50ZXN0AAoJEEo5bN978UsdTDsH/i0jGqFTW/IG7ey320H775agjYvLqepY
YrEXI61yA22+ucI4YEnOg2ZMnX6ybW8dKdUtIWHkcPMjhxYbx7N2dCs5cq+FEOEp
YPWpeNyijC3cqHvm8N3PaLkaeHxaKxTbHB1RdFelwSeaEStJZYUnMitUsgV8V8Q9
hImu8yf1nInZPsSxz9Ah8Gn8fHM/sSgLYboUIGnog5eUmqYZqYBdr/Tgyj2TByea
dh2/FIvnSkOjNWNU9Cwh7c0yqtEHpe62htekMpTbvdbe4BHt/g4c9wODK3UQQ4zT
TKkMzAenO0j4eqQQrwSFm5lphTCeCocf/cuOHZfYcisnQmTX3XAUbEE=
=sQDI
-----END PGP SIGNATURE-----
