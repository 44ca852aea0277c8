//! Recompression: same bytes every time, read back by other tools, described rightly.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{
    Cut, OCI_GZIP, descriptor, drain, gzip, layer, plain, run, sha256, text, to, tool, zstd,
};
use proptest::prelude::*;
use securecp_layer::{
    CHUNK, CheckDiffId, Codec, Compression, FoundDiffId, Layer, LayerError, Recompress, Scope,
    Transform,
};
use securecp_oci::{Declared, Digest, MediaType, RawManifest};

fn made(transform: &Recompress, data: &[u8], sizes: &[usize]) -> Vec<u8> {
    let layer = layer(OCI_GZIP, data, sizes).pipe(Some(transform)).unwrap().measured();
    let (out, descriptor) = drain(layer).unwrap();
    assert_eq!((descriptor.digest, descriptor.size), (sha256(&out), out.len() as u64));
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_depend_on_input_and_level_only(
        seed in any::<u64>(),
        size in prop_oneof![0..200_usize, 0..(3_usize << 20), Just(1_usize << 20), Just(2 << 20)],
        sizes in prop::collection::vec(1_usize..700_000, 1..5),
        level in 1_i64..8,
    ) {
        let data = text(seed, size);
        for compression in [gzip(level), zstd(level)] {
            let expected = made(&to(compression, 1), &data, &[CHUNK]);
            for workers in [1, 2, 4] {
                let again = made(&to(compression, workers), &data, &sizes);
                prop_assert_eq!(sha256(&again), sha256(&expected), "{:?}", compression);
            }
            let back = made(&plain().expect(sha256(&data)), &expected, &sizes);
            prop_assert_eq!(sha256(&back), sha256(&data));
        }
    }
}

#[test]
fn high_levels_are_deterministic_too() {
    let data = text(16, (2 << 20) + 500_000);
    for level in [16, 19] {
        let one = made(&to(zstd(level), 1), &data, &[CHUNK]);
        let many = made(&to(zstd(level), 3), &data, &[99_999]);
        assert_eq!(sha256(&one), sha256(&many), "level {level}");
    }
}

#[test]
fn small_chunks_change_nothing() {
    let data = text(7, 70_000);
    for compression in [gzip(6), zstd(3)] {
        let expected = made(&to(compression, 2), &data, &[CHUNK]);
        let packed = made(&to(compression, 2), &data, &[1]);
        assert_eq!(packed, expected);
        assert_eq!(made(&plain(), &packed, &[1, 2, 3]), data);
    }
}

#[test]
fn every_level_gives_back_its_input_and_high_levels_keep_a_window_that_all_can_read() {
    let data = text(1, 400_000);
    let levels = (0..=9).map(gzip).chain([1, 2, 3, 5, 9, 12, 15, 19, 20, 22].map(zstd));
    for compression in levels {
        let packed = made(&to(compression, 2), &data, &[CHUNK]);
        assert_eq!(made(&plain(), &packed, &[CHUNK]), data, "{compression:?}");
    }
    let packed = made(&to(zstd(22), 2), &data, &[CHUNK]);
    let limited = tool(&["zstd", "-dc", "--memory=8MB"], &packed);
    assert_eq!(limited.unwrap(), data);
}

#[test]
fn other_tools_read_what_is_written() {
    const PYTHON: &str =
        "import sys,gzip;sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))";
    for data in [Vec::new(), b"x".to_vec(), text(2, 1 << 20), text(3, (2 << 20) + 17)] {
        for level in [0, 1, 6, 9] {
            let packed = made(&to(gzip(level), 3), &data, &[CHUNK]);
            assert_eq!(tool(&["gzip", "-dc"], &packed).unwrap(), data);
            assert_eq!(tool(&["python3", "-c", PYTHON], &packed).unwrap(), data);
            assert_eq!(packed[4..8], [0; 4], "no time");
        }
        for level in [1, 3, 19] {
            let packed = made(&to(zstd(level), 3), &data, &[CHUNK]);
            assert_eq!(tool(&["zstd", "-dc"], &packed).unwrap(), data);
        }
    }
}

#[test]
fn reads_what_other_tools_write() {
    let data = text(4, 600_000);
    for command in [
        &["gzip", "-c"][..],
        &["zstd", "-c"],
        &["zstd", "-c", "-19"],
        &["zstd", "-c", "--long=27"],
        &["bzip2", "-c"],
        &["xz", "-c"],
        &["xz", "-c", "-9", "--check=sha256"],
        &["cat"],
    ] {
        let mut packed = tool(command, &data).unwrap();
        assert_eq!(made(&plain(), &packed, &[333]), data, "{command:?}");
        packed.extend_from_slice(&tool(command, b"second member").unwrap());
        let both = made(&plain(), &packed, &[CHUNK]);
        assert_eq!(both, [&data, b"second member".as_slice()].concat(), "{command:?}");
    }
}

#[test]
fn one_gzip_member_is_written_and_many_are_read() {
    let data = text(5, 3_200_000);
    let packed = made(&to(gzip(6), 2), &data, &[CHUNK]);
    // Python's one-member reader leaves nothing behind.
    const ONE: &str = "import sys,zlib;d=zlib.decompressobj(31);n=len(d.decompress(sys.stdin.buffer.read()));sys.exit(0 if d.eof and not d.unused_data and n==3200000 else 1)";
    assert!(tool(&["python3", "-c", ONE], &packed).is_some());
    let mut members = Vec::new();
    for part in data.chunks(50_000) {
        members.extend_from_slice(&made(&to(gzip(1), 1), part, &[CHUNK]));
    }
    assert_eq!(made(&plain(), &members, &[7777]), data);
}

#[test]
fn ratio_is_that_of_a_serial_compressor() {
    let data = text(6, 8 << 20);
    let ours = made(&to(gzip(6), 2), &data, &[CHUNK]).len() as f64;
    let theirs = tool(&["gzip", "-c", "-6"], &data).unwrap().len() as f64;
    assert!(ours < theirs * 1.03, "{ours} {theirs}");
}

#[test]
fn states_media_types_and_drops_what_points_into_old_bytes() {
    let data = text(8, 1000);
    let packed = made(&to(gzip(6), 1), &data, &[CHUNK]);
    for (from, compression, made) in [
        ("oci.image.layer.v1.tar+gzip", zstd(3), "oci.image.layer.v1.tar+zstd"),
        ("oci.image.layer.v1.tar+zstd", Compression::None, "oci.image.layer.v1.tar"),
        ("oci.image.layer.v1.tar", gzip(6), "oci.image.layer.v1.tar+gzip"),
        (
            "oci.image.layer.nondistributable.v1.tar+gzip",
            zstd(3),
            "oci.image.layer.nondistributable.v1.tar+zstd",
        ),
        ("docker.image.rootfs.diff.tar.gzip", zstd(3), "docker.image.rootfs.diff.tar.zstd"),
        ("docker.image.rootfs.diff.tar.gzip", Compression::None, "docker.image.rootfs.diff.tar"),
        (
            "docker.image.rootfs.foreign.diff.tar.gzip",
            Compression::None,
            "docker.image.rootfs.foreign.diff.tar",
        ),
    ] {
        let mut known = descriptor(&format!("application/vnd.{from}"), &packed);
        known.urls = vec!["https://example.test/layer".to_owned()];
        for key in [
            "io.github.containers.zstd-chunked.manifest-checksum",
            "io.github.containers.zstd-chunked.tarsplit-position",
            "containerd.io/snapshot/stargz/toc.digest",
            "org.example.kept",
        ] {
            known.annotations.insert(key.to_owned(), "x".to_owned());
        }
        let source = securecp_layer::Once::new(packed.clone().into());
        let recompress = to(compression, 1);
        let layer = Layer::verified(known, source).pipe(Some(&recompress)).unwrap();
        assert!(layer.known.is_none());
        let (_, found) = drain(layer.measured()).unwrap();
        assert_eq!(found.media_type.as_str(), format!("application/vnd.{made}"));
        assert!(found.urls.is_empty());
        assert_eq!(found.annotations.keys().collect::<Vec<_>>(), ["org.example.kept"]);
    }
}

#[test]
fn takes_no_layer_whose_type_it_cannot_restate() {
    for media_type in [
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        "application/vnd.example.model+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "",
    ] {
        let recompress = to(zstd(3), 1);
        let refused = recompress.wrap(layer(media_type, b"abc", &[1]));
        assert!(
            matches!(
                refused,
                Err(LayerError::NotRecompressible(_) | LayerError::NoMediaType { .. })
            ),
            "{media_type}"
        );
    }
}

#[test]
fn a_wrong_label_does_not_matter() {
    let data = text(9, 100_000);
    for packed in [data.clone(), made(&to(zstd(3), 1), &data, &[CHUNK])] {
        let recompress = to(gzip(6), 1).expect(sha256(&data));
        let (out, found) = run(&recompress, &packed).unwrap();
        assert_eq!(tool(&["gzip", "-dc"], &out).unwrap(), data);
        assert_eq!(found.media_type, MediaType::OCI_LAYER_GZIP);
    }
}

#[test]
fn a_lying_diff_id_fails_at_finish() {
    let data = text(10, 100_000);
    let packed = made(&to(gzip(6), 1), &data, &[CHUNK]);
    for compression in [gzip(6), zstd(3), Compression::None] {
        let recompress = to(compression, 1).expect(sha256(b"other"));
        let mut layer = layer(OCI_GZIP, &packed, &[CHUNK]).pipe(Some(&recompress)).unwrap();
        while layer.next().unwrap().is_some() {}
        assert!(matches!(layer.finish(), Err(LayerError::DiffId { .. })), "{compression:?}");
    }
}

#[test]
fn what_cannot_be_decompressed_is_called_altered_if_it_is() {
    let packed = made(&to(gzip(6), 1), &text(21, 2_000_000), &[CHUNK]);
    let mut altered = packed.clone();
    altered[5_000..5_100].fill(0xff);
    let read = |bytes: &[u8], promised: &[u8]| {
        let source = Cut { rest: bytes.to_vec().into(), sizes: vec![10_000], turn: 0 };
        let layer = Layer::verified(descriptor(OCI_GZIP, promised), source);
        let plain = plain();
        let mut layer = layer.pipe(Some(&plain)).unwrap();
        loop {
            match layer.next() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it was decompressed"),
                Err(error) => break error,
            }
        }
    };
    let error = read(&altered, &packed);
    assert!(matches!(error, LayerError::Altered { .. }), "{error}");
    let error = read(&altered[..9_000], &packed);
    assert!(matches!(error, LayerError::Short { .. }), "{error}");
    let error = read(&altered, &altered);
    let expected = format!("layer {} cannot be decompressed as gzip", sha256(&altered));
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_diff_id_may_use_another_algorithm() {
    let data = text(11, 10_000);
    let packed = made(&to(gzip(6), 1), &data, &[CHUNK]);
    let sha512 = Digest::of(securecp_oci::Algorithm::Sha512, &data);
    run(&to(zstd(3), 1).expect(sha512.clone()), &packed).unwrap();
    run(&CheckDiffId::new().expect(sha512), &packed).unwrap();
}

#[test]
fn plain_bytes_are_hashed_once_where_their_diff_id_is_their_digest() {
    let data = text(13, 700_000);
    let packed = made(&to(gzip(6), 1), &data, &[CHUNK]);
    let sha512 = Digest::of(securecp_oci::Algorithm::Sha512, &data);
    let none = || to(Compression::None, 1);
    for (transform, once) in [
        (none().expect(sha256(&data)), true),
        (none().record(FoundDiffId::default()), true),
        (none().expect(sha512), false),
        (none(), false),
        (to(zstd(3), 1).expect(sha256(&data)), false),
    ] {
        let layer = layer(OCI_GZIP, &packed, &[100_000]).pipe(Some(&transform)).unwrap();
        assert_eq!(layer.body.measures(), once, "{transform:?}");
        let (out, found) = drain(layer.measured()).unwrap();
        assert_eq!((found.digest, found.size), (sha256(&out), out.len() as u64), "{transform:?}");
    }
}

#[test]
fn passing_through_checks_and_records_the_diff_id_and_changes_nothing() {
    let data = text(12, 900_000);
    let variants = [gzip(6), zstd(3), Compression::None].map(|c| made(&to(c, 2), &data, &[CHUNK]));
    for packed in variants {
        for sizes in [&[1_usize << 20][..], &[3, 50_000]] {
            let cell = FoundDiffId::default();
            let check = CheckDiffId::new().expect(sha256(&data)).record(cell.clone());
            let layer = layer(OCI_GZIP, &packed, sizes).pipe(Some(&check)).unwrap();
            assert!(layer.known.is_some(), "the bytes are still known");
            let (out, found) = drain(layer).unwrap();
            assert_eq!(out, packed);
            assert_eq!(found, descriptor(OCI_GZIP, &packed));
            assert_eq!(cell.digest(), Some(sha256(&data)));

            let cell = FoundDiffId::default();
            let check = CheckDiffId::new().expect(sha256(b"other")).record(cell.clone());
            assert!(matches!(run(&check, &packed), Err(LayerError::DiffId { .. })));
            assert_eq!(cell.digest(), None);
        }
    }
}

#[test]
fn an_empty_layer_stays_a_layer() {
    for compression in [gzip(6), zstd(3), Compression::None] {
        let (out, found) = run(&to(compression, 2).expect(sha256(b"")), b"").unwrap();
        assert_eq!(made(&plain(), &out, &[CHUNK]), b"");
        assert_eq!(found.size, out.len() as u64);
    }
    run(&CheckDiffId::new().expect(sha256(b"")), b"").unwrap();
}

#[test]
fn the_format_can_be_demanded() {
    let packed = made(&to(zstd(3), 1), b"data", &[CHUNK]);
    for (codec, bytes, right) in [
        (Codec::Zstd, packed.as_slice(), true),
        (Codec::Gzip, &packed, false),
        (Codec::Plain, &packed, false),
        (Codec::Plain, b"", true),
        (Codec::Zstd, b"", false),
        (Codec::Plain, b"plain", true),
    ] {
        let found = run(&CheckDiffId::new().expect_codec(codec), bytes);
        assert_eq!(found.is_ok(), right, "{codec} {found:?}");
    }
}

#[test]
fn finishing_early_fails() {
    let data = text(13, 600_000);
    for compression in [gzip(6), zstd(3), Compression::None] {
        let recompress = to(compression, 2);
        let mut early = layer(OCI_GZIP, &data, &[CHUNK]).pipe(Some(&recompress)).unwrap();
        early.next().unwrap();
        assert!(matches!(early.finish(), Err(LayerError::FinishedEarly)));
    }
}

#[test]
fn a_cancel_or_a_drop_ends_everything_at_once() {
    let data = text(14, 40 << 20);
    for compression in [gzip(9), zstd(12)] {
        let scope = Scope::new();
        let recompress = to(compression, 2).scoped(scope.clone());
        let mut layer = layer(OCI_GZIP, &data, &[CHUNK]).pipe(Some(&recompress)).unwrap();
        layer.next().unwrap();
        scope.cancel();
        let start = Instant::now();
        let mut came = 0;
        let stopped = loop {
            match layer.next() {
                Ok(Some(_)) => came += 1,
                Ok(None) => panic!("ended as if nothing had happened"),
                Err(error) => break error,
            }
        };
        assert!(matches!(stopped, LayerError::Stopped(_)));
        assert!(came < 16, "{came} chunks after the end");
        drop(layer);
        // Waits for the jobs in work, which take a tenth of a second on a machine that does nothing else.
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    }
}

#[test]
fn images_of_the_reference_give_their_diff_ids() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/compressed");
    let blob = |image: &str, digest: &Digest| {
        std::fs::read(root.join(image).join("blobs/sha256").join(digest.hex())).unwrap()
    };
    for image in ["plain", "zstd", "zstd-chunked"] {
        let index = std::fs::read(root.join(image).join("index.json")).unwrap();
        let index = RawManifest::read(index.into(), Declared::default()).unwrap();
        let entry = &index.index().unwrap().manifests[0];
        let manifest = blob(image, &entry.digest);
        let manifest = RawManifest::read(manifest.into(), Declared::from(entry)).unwrap();
        let view = manifest.image().unwrap();
        let config = blob(image, &view.config.digest);
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(view.layers.len(), 3);
        for (n, described) in view.layers.iter().enumerate() {
            let diff_id = config["rootfs"]["diff_ids"][n].as_str().unwrap().parse().unwrap();
            let bytes = blob(image, &described.digest);
            let recompress = to(gzip(6), 1).expect(diff_id);
            let source = securecp_layer::Once::new(bytes.into());
            let layer = Layer::verified(described.clone(), source).pipe(Some(&recompress)).unwrap();
            let (_, found) = drain(layer.measured()).unwrap();
            assert_eq!(found.media_type, MediaType::OCI_LAYER_GZIP);
            assert!(found.annotations.is_empty(), "nothing of zstd:chunked is left");
        }
    }
}
