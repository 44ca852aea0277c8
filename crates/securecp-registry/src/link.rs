//! Paging by the `Link` header (RFC 8288).

use securecp_net::{Response, Url, header};

/// The next page, if there is one: always of the same registry, whatever host the link names.
pub(crate) fn next(response: &Response) -> Option<Url> {
    let mut links = response.headers().get_all(header::LINK).iter();
    let target = links.find_map(|value| next_target(value.to_str().ok()?).map(str::to_owned))?;
    let base = response.url();
    let next = base.join(&target).ok()?;
    let mut same = base.clone();
    same.set_path(next.path());
    same.set_query(next.query());
    Some(same)
}

/// The target of the first link whose relation is `next`.
fn next_target(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some((_, link)) = rest.split_once('<') {
        let (target, parameters) = link.split_once('>')?;
        let (own, following) = parameters.split_once('<').unwrap_or((parameters, ""));
        let own = own.to_ascii_lowercase();
        if own
            .split(';')
            .any(|p| matches!(p.trim().trim_end_matches(','), "rel=next" | "rel=\"next\""))
        {
            return Some(target);
        }
        rest = &parameters[parameters.len() - following.len()..];
        rest = if following.is_empty() { "" } else { &text[text.len() - rest.len() - 1..] };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_next_page() {
        assert_eq!(
            next_target("</v2/a/tags/list?n=1&last=x>; rel=\"next\""),
            Some("/v2/a/tags/list?n=1&last=x")
        );
        assert_eq!(next_target("<a>; rel=prev, <b>; title=x; rel=next"), Some("b"));
        for none in ["", "<a>", "<a>; rel=prev", "<a", "a; rel=next", "<a>; rel=\"nextish\""] {
            assert_eq!(next_target(none), None, "{none}");
        }
    }
}
