-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA512

{"critical":{"identity":{"docker-reference":"registry.securecp.test/plain:v1"},"image":{"docker-manifest-digest":"sha256:352fb370f4a9978d04c14127b3b855dcc981475071b5902d8b006a00ca515d6f"},"type":"atomic container signature"},"optional":{}}
-----BEGIN PGP SIGNATURE-----

iQFGBAEBCgAwFiEECImkTCmc39KUKE2BjP5WIf0TZw8FAmsBM8ISHHJzYUBzZWN1
cmVjcC50ZXN0AAoJEIz+ViH9E2cPpOoIAKM7fEJN1Aex8DnxW9B7RZ0MU/t3WGV0
zAg+pWlKkmnD3PAa/afntuGfz34NA+AdJaIrJ/Fufs02zxAhpES5yUXvSPiqdvUP
/pX2Q0O97wQFdZxJ5+kKGj9ZaYRSzbFdC9yBncuYn6rRM4mVLC9jg7kCtixL/IXP
LXnIGMz8xyX8YyKRtQoe+/yiyqE0FzihMeh8TAAltyXdzj64feTDhazLG7tIcAov
6uu2t6TT3wyCuzqaaPIprHG78G3oS8ox7BDQzQMf2rbFp8hGJ+6sxVfkRYzftqiI
ZqeVgLH81diPJbr8FvLcXLXx10jQCmhL8doFgUgWAUlBy48exyOq+T0=
=dP9L
-----END PGP SIGNATURE-----
