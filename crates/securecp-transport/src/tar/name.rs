use securecp_oci::Escaped;

/// Longest name of a member, in bytes.
const NAME_LIMIT: usize = 4096;

/// The name of a member without `./` before it and `/` behind it.
///
/// Absolute names, names with `..`, empty names and names that are not UTF-8 are refused.
pub(crate) fn member_name(raw: &[u8]) -> Result<String, String> {
    let shown = || Escaped::new(&String::from_utf8_lossy(raw)).limit(100).to_string();
    if raw.len() > NAME_LIMIT {
        return Err(format!("a member's name has more than {NAME_LIMIT} bytes"));
    }
    let text =
        std::str::from_utf8(raw).map_err(|_| format!("member {:?} is not UTF-8", shown()))?;
    if text.starts_with('/') {
        return Err(format!("member {:?} has an absolute name", shown()));
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(format!("member {:?} leaves the archive", shown()));
    }
    if text.contains('\0') {
        return Err(format!("member {:?} has a zero byte in its name", shown()));
    }
    Ok(parts.join("/"))
}

/// Where a symbolic link at `member` leads; outside of the archive is refused.
pub(super) fn symlink_target(member: &str, raw: &[u8]) -> Result<String, String> {
    let leaves = || {
        let target = String::from_utf8_lossy(raw);
        let target = Escaped::new(&target).limit(100).to_string();
        format!("link {:?} leads out of the archive, to {target:?}", shown(member))
    };
    let text = std::str::from_utf8(raw).map_err(|_| leaves())?;
    if text.is_empty() || text.starts_with('/') || text.contains('\0') || raw.len() > NAME_LIMIT {
        return Err(leaves());
    }
    let mut parts: Vec<&str> = member.split('/').collect();
    parts.pop();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(leaves)?;
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

pub(super) fn shown(name: &str) -> String {
    Escaped::new(name).limit(100).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_plain_names_and_refuses_the_rest() {
        for (raw, expected) in [
            (&b"a"[..], "a"),
            (b"./a/b", "a/b"),
            (b"a//b/", "a/b"),
            (b"./", ""),
            (b"a..b/c", "a..b/c"),
        ] {
            assert_eq!(member_name(raw).unwrap(), expected);
        }
        for bad in [&b"/a"[..], b"../a", b"a/../../b", b"a/..", b"\xff", b"a\0b", &[b'a'; 5000]] {
            assert!(member_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn follows_links_only_inside() {
        assert_eq!(symlink_target("id/layer.tar", b"../x.tar").unwrap(), "x.tar");
        assert_eq!(symlink_target("a/b", b"./c").unwrap(), "a/c");
        for bad in [&b"/etc/passwd"[..], b"../../x", b"", b"../../../", b"\xff", b"a\0"] {
            assert!(symlink_target("id/layer.tar", bad).is_err(), "{bad:?}");
        }
    }
}
