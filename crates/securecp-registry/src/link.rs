//! Lists in pages, which `Link` headers connect (RFC 8288).

use std::collections::HashSet;

use securecp_net::{Response, Url, header};
use securecp_oci::Escaped;

/// Most bytes of one list, all pages together: more than any registry needs, less than would hurt.
const LIST: usize = 64 << 20;

/// The way through a list: every page once, and not for ever.
pub(crate) struct Walk {
    next: Option<Url>,
    seen: HashSet<Url>,
    bytes: usize,
}

impl Walk {
    /// Begins with the first page.
    pub(crate) fn from(url: Url) -> Self {
        Self { seen: HashSet::from([url.clone()]), next: Some(url), bytes: 0 }
    }

    /// The page to be read now; `None` at the end of the list.
    pub(crate) fn page(&self) -> Option<&Url> {
        self.next.as_ref()
    }

    /// Goes on from a page of `size` bytes.
    ///
    /// # Errors
    /// What is wrong with the list: it is too long, or leads back to a page that was read.
    pub(crate) fn advance(&mut self, size: usize, next: Option<Url>) -> Result<(), String> {
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > LIST {
            return Err(format!("a list of more than {LIST} bytes"));
        }
        if next.as_ref().is_some_and(|next| !self.seen.insert(next.clone())) {
            return Err("a list whose next page is one that was read before".to_owned());
        }
        self.next = next;
        Ok(())
    }
}

/// The next page, if there is one: always of the same registry, whatever host the link names.
///
/// # Errors
/// What is wrong with the header: a list that cannot be continued is not known to be complete.
pub(crate) fn next(response: &Response) -> Result<Option<Url>, String> {
    for value in response.headers().get_all(header::LINK) {
        let text = value.to_str().map_err(|_| "a Link header that is not text".to_owned())?;
        let broken = || format!("a malformed Link header {}", Escaped::new(text).limit(200));
        if let Some(target) = next_target(text).map_err(|Malformed| broken())? {
            return page_at(response.url(), target).map(Some).ok_or_else(broken);
        }
    }
    Ok(None)
}

fn page_at(base: &Url, target: &str) -> Option<Url> {
    let next = base.join(target).ok()?;
    let mut same = base.clone();
    same.set_path(next.path());
    same.set_query(next.query());
    Some(same)
}

#[derive(Debug, PartialEq, Eq)]
struct Malformed;

/// The target of the first link whose relation is `next`.
fn next_target(text: &str) -> Result<Option<&str>, Malformed> {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        if rest.is_empty() {
            return Ok(None);
        }
        let link = rest.strip_prefix('<').and_then(|link| link.split_once('>'));
        let (target, behind) = link.ok_or(Malformed)?;
        let (mut parameters, following) = cut(behind, ',');
        while !parameters.is_empty() {
            let (parameter, others) = cut(parameters, ';');
            if is_next(parameter) {
                return Ok(Some(target));
            }
            parameters = others;
        }
        rest = following;
    }
}

/// `rel=next`, alone or among other relations.
fn is_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
    name.trim().eq_ignore_ascii_case("rel") && relations.any(|r| r.eq_ignore_ascii_case("next"))
}

/// What stands before and behind the first `separator` outside of quotes.
fn cut(text: &str, separator: char) -> (&str, &str) {
    let mut quoted = false;
    let end = text.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        *c == separator && !quoted
    });
    match end {
        Some((at, c)) => (&text[..at], &text[at + c.len_utf8()..]),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_next_page() {
        for (text, target) in [
            ("</v2/a/tags/list?n=1&last=x>; rel=\"next\"", "/v2/a/tags/list?n=1&last=x"),
            ("</v2/a/tags/list?n=1,2&last=x>;rel=next", "/v2/a/tags/list?n=1,2&last=x"),
            ("<a>; rel=prev, <b>; title=x; rel=next", "b"),
            ("<a>; title=\"x, <y>; rel=next\", <b>; REL=\"last Next\"", "b"),
        ] {
            assert_eq!(next_target(text), Ok(Some(target)), "{text}");
        }
        for none in ["", "<a>", "<a>; rel=prev", "<a>; rel=\"nextish\"", "<a>; rel", " , "] {
            assert_eq!(next_target(none), Ok(None), "{none}");
        }
        for broken in ["<a", "a; rel=next", "/v2/a/tags/list?last=x; rel=\"next\"", "<a>, b"] {
            assert_eq!(next_target(broken), Err(Malformed), "{broken}");
        }
    }

    #[test]
    fn no_page_is_read_twice_and_lists_end() {
        let url =
            |n: u32| format!("https://r.test/v2/a/tags/list?last={n}").parse::<Url>().unwrap();
        let mut walk = Walk::from(url(0));
        walk.advance(LIST / 2, Some(url(1))).unwrap();
        assert_eq!(walk.page(), Some(&url(1)));
        for read in [0, 1] {
            let error = Walk { seen: walk.seen.clone(), next: None, bytes: 0 }
                .advance(0, Some(url(read)))
                .unwrap_err();
            assert!(error.contains("read before"), "{error}");
        }
        walk.advance(LIST / 2, Some(url(2))).unwrap();
        assert!(walk.advance(1, Some(url(3))).unwrap_err().contains("more than"));
        let mut last = Walk::from(url(0));
        last.advance(1, None).unwrap();
        assert_eq!(last.page(), None);
    }
}
