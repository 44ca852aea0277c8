//! Broken, lying and hostile compressed data: a typed error, never a panic, never more memory.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

mod common;

use common::{gzip, plain, run, text, to, tool, zstd};
use proptest::prelude::*;
use securecp_layer::{CheckDiffId, Codec, CodecError, Compression, Guard, LayerError, Transform};

fn refused(bytes: &[u8]) -> CodecError {
    let check = CheckDiffId::new().expect(common::sha256(b""));
    let beside = run(&check, bytes).unwrap_err();
    assert!(matches!(beside, LayerError::Decompress { .. }), "{beside:?}");
    match run(&plain(), bytes) {
        Err(LayerError::Decompress { source, .. }) => source,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

/// Each format as its own tool writes it.
fn packed(data: &[u8]) -> [(Codec, Vec<u8>); 4] {
    [
        (Codec::Gzip, tool(&["gzip", "-c"], data).unwrap()),
        (Codec::Zstd, tool(&["zstd", "-c"], data).unwrap()),
        (Codec::Bzip2, tool(&["bzip2", "-c"], data).unwrap()),
        (Codec::Xz, tool(&["xz", "-c"], data).unwrap()),
    ]
}

#[test]
fn truncated_data_is_refused_wherever_it_is_cut() {
    let data = text(1, 300_000);
    for (codec, bytes) in packed(&data) {
        for cut in [Codec::PREFIX, 12, 20, bytes.len() / 2, bytes.len() - 5, bytes.len() - 1] {
            let why = refused(&bytes[..cut]);
            assert!(matches!(why, CodecError::Truncated), "{codec} at {cut}: {why:?}");
        }
    }
}

#[test]
fn nothing_comes_after_a_failure() {
    let data = text(4, 300_000);
    for (codec, bytes) in packed(&data) {
        for transform in [
            Box::new(plain()) as Box<dyn Transform>,
            Box::new(to(zstd(3), 1)),
            Box::new(to(gzip(6), 1)),
            Box::new(CheckDiffId::new().expect(common::sha256(&data))),
        ] {
            let cut = &bytes[..bytes.len() - 1];
            let layer = common::layer(common::OCI_GZIP, cut, &[50_000]);
            let mut layer = layer.pipe(Some(transform.as_ref())).unwrap();
            while let Ok(Some(_)) = layer.next() {}
            for _ in 0..3 {
                assert!(layer.next().is_err(), "{codec}");
            }
            assert!(matches!(layer.finish(), Err(LayerError::FinishedEarly)), "{codec}");
        }
    }
}

#[test]
fn trailing_garbage_is_refused() {
    for (codec, bytes) in packed(b"some data") {
        for tail in [&b"garbage, longer than any header"[..], b"x", &[0; 513]] {
            let why = refused(&[&bytes, tail].concat());
            let told = matches!(why, CodecError::Trailing);
            assert!(told || codec == Codec::Xz || codec == Codec::Zstd, "{codec}: {why:?}");
        }
    }
}

#[test]
fn altered_data_is_refused() {
    let data = text(2, 100_000);
    for (codec, bytes) in packed(&data) {
        let mut bad = bytes.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 0x55;
        bad[middle + 1] ^= 0x55;
        let why = refused(&bad);
        assert!(matches!(why, CodecError::Corrupt(_) | CodecError::Truncated), "{codec}: {why:?}");
        let mut checksum = bytes;
        let last = checksum.len() - if codec == Codec::Xz { 29 } else { 6 };
        checksum[last] ^= 1;
        refused(&checksum);
    }
}

/// CVE-2017-14992: layers that expand without end.
#[test]
fn cve_2017_14992_bombs_are_stopped_early() {
    let guard = Guard { free_bytes: 1 << 20, ratio: 100, total_bytes: 1 << 40 };
    let zeros = vec![0; 20 << 20];
    for (codec, bytes) in packed(&zeros) {
        for transform in [
            Box::new(plain().guarded(guard)) as Box<dyn Transform>,
            Box::new(to(zstd(3), 1).guarded(guard)),
            Box::new(CheckDiffId::new().expect(common::sha256(b"")).guarded(guard)),
        ] {
            let error = run(transform.as_ref(), &bytes).unwrap_err();
            let LayerError::Decompress { source: CodecError::Expands { allowed, .. }, .. } = error
            else {
                panic!("{codec}: {error:?}")
            };
            assert!(allowed < 4 << 20);
        }
        let wide = Guard { ratio: 1_000_000, ..guard };
        assert_eq!(run(&plain().guarded(wide), &bytes).unwrap().0.len(), zeros.len());
        let total = Guard { total_bytes: 2 << 20, ..wide };
        assert!(run(&plain().guarded(total), &bytes).is_err());
    }
}

#[test]
fn windows_beyond_the_limit_are_refused() {
    // Frame header: no single segment, window descriptor 2^28, then one raw block.
    let huge = b"\x28\xb5\x2f\xfd\x00\x90\x09\x00\x00a";
    assert!(matches!(refused(huge), CodecError::Window { .. }));
    let allowed = b"\x28\xb5\x2f\xfd\x00\x88\x09\x00\x00a";
    assert_eq!(run(&plain(), allowed).unwrap().0, b"a");
    let data = text(3, 10_000);
    let xz = tool(&["xz", "-c", "--lzma2=dict=512MiB"], &data).unwrap();
    assert!(matches!(refused(&xz), CodecError::Window { .. }));
}

#[test]
fn skippable_frames_are_skipped() {
    let frame = tool(&["zstd", "-c"], b"data").unwrap();
    let skip = b"\x50\x2a\x4d\x18\x05\x00\x00\x00hello";
    let bytes = [skip, frame.as_slice(), skip, &frame, skip].concat();
    assert_eq!(run(&plain(), &bytes).unwrap().0, b"datadata");
    assert!(matches!(refused(&bytes[..bytes.len() - 1]), CodecError::Truncated));
    let endless = b"\x5f\x2a\x4d\x18\xff\xff\xff\xffhello";
    assert!(matches!(refused(endless), CodecError::Truncated));
}

#[test]
fn many_empty_members_cost_little() {
    let empty = run(&to(gzip(1), 1), b"").unwrap().0;
    let many = empty.repeat(20_000);
    assert_eq!(run(&plain(), &many).unwrap().0, b"");
}

#[test]
fn gzip_headers_with_every_field_are_read() {
    const PYTHON: &str = "import sys,zlib,struct;d=sys.stdin.buffer.read();c=zlib.compressobj(6,8,-15);b=c.compress(d)+c.flush();h=bytes([31,139,8,30,1,2,3,4,0,3])+struct.pack('<H',5)+b'extra'+b'name\\0'+b'comment\\0';h+=struct.pack('<H',zlib.crc32(h)&65535);sys.stdout.buffer.write(h+b+struct.pack('<II',zlib.crc32(d),len(d)))";
    let bytes = tool(&["python3", "-c", PYTHON], b"data").unwrap();
    assert_eq!(run(&plain(), &bytes).unwrap().0, b"data");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(
        start in 0..6_usize,
        tail in prop::collection::vec(any::<u8>(), 0..300),
        flip in any::<(u16, u8)>(),
    ) {
        const STARTS: [&[u8]; 6] = [
            b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"BZh91AY&SY", b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46",
            b"\x50\x2a\x4d\x18", b"",
        ];
        let _ = run(&plain(), &[STARTS[start], &tail].concat());
        let level = Compression::Zstd(Default::default());
        let mut good = run(&to(if start % 2 == 0 { level } else { gzip(6) }, 1), &tail).unwrap().0;
        let at = usize::from(flip.0) % good.len();
        good[at] ^= flip.1;
        if let Ok((out, _)) = run(&plain(), &good) {
            prop_assert!(out.len() <= 1 << 20);
        }
    }
}
