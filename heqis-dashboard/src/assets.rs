//! The page's files, compressed and embedded at build time.

use std::io::Read as _;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};

/// Path and gzip stream of each file.
static PACKED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The page itself.
const INDEX: &str = "index.html";

/// One embedded file.
#[derive(Clone, Copy)]
struct Asset {
    path: &'static str,
    packed: &'static [u8],
}

impl Asset {
    fn find(path: &str) -> Option<Self> {
        let at = PACKED
            .binary_search_by(|(name, _)| (*name).cmp(path))
            .ok()?;
        let (path, packed) = PACKED[at];
        Some(Self { path, packed })
    }

    fn content_type(self) -> &'static str {
        match self.path.rsplit_once('.').map(|(_, ending)| ending) {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/plain; charset=utf-8",
        }
    }

    /// Returns an ETag from the checksum and length at the end of the gzip stream.
    fn tag(self) -> String {
        let trailer = &self.packed[self.packed.len() - 8..];
        let digits: String = trailer.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("\"{digits}\"")
    }

    fn unpacked(self) -> std::io::Result<Vec<u8>> {
        let mut content = Vec::new();
        flate2::read::GzDecoder::new(self.packed).read_to_end(&mut content)?;
        Ok(content)
    }
}

/// Serves the page.
pub(crate) async fn index(request: HttpRequest) -> HttpResponse {
    respond(&request, INDEX)
}

/// Serves a file by its exact name. Only embedded files are served, so no path leads into the file system.
pub(crate) async fn file(request: HttpRequest, path: web::Path<String>) -> HttpResponse {
    respond(&request, &path)
}

fn respond(request: &HttpRequest, path: &str) -> HttpResponse {
    let Some(asset) = Asset::find(path) else {
        return crate::api_error::error_response(
            actix_web::http::StatusCode::NOT_FOUND,
            "there is no such file",
        );
    };
    let tag = asset.tag();
    let header_text = |name| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let head = |mut response: HttpResponseBuilder| {
        response
            .insert_header((header::ETAG, tag.clone()))
            // Revalidated each time: another build may listen here later, and a 304 is cheap.
            .insert_header((header::CACHE_CONTROL, "no-cache"))
            .insert_header((header::VARY, "accept-encoding"))
            .insert_header((header::CONTENT_TYPE, asset.content_type()));
        response
    };
    if header_text(header::IF_NONE_MATCH)
        .is_some_and(|known| known.split(',').any(|known| known.trim() == tag))
    {
        return head(HttpResponse::NotModified()).finish();
    }
    if header_text(header::ACCEPT_ENCODING).is_some_and(accepts_gzip) {
        return head(HttpResponse::Ok())
            .insert_header((header::CONTENT_ENCODING, "gzip"))
            .body(asset.packed);
    }
    match asset.unpacked() {
        Ok(content) => head(HttpResponse::Ok()).body(content),
        Err(error) => crate::api_error::internal_error(&format!("{path}: {error}")),
    }
}

/// Returns whether an Accept-Encoding header allows gzip.
fn accepts_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let never = matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
        matches!(name.trim(), "gzip" | "*") && !never
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn files_are_found_by_binary_search_and_unpack_to_what_was_packed() {
        assert!(PACKED.is_sorted_by(|(a, _), (b, _)| a < b));
        for (path, _) in PACKED {
            let asset = Asset::find(path).unwrap();
            let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("assets")
                .join(path);
            assert_eq!(
                asset.unpacked().unwrap(),
                std::fs::read(source).unwrap(),
                "{path}"
            );
        }
    }

    #[test]
    fn gzip_is_sent_only_where_it_is_accepted() {
        assert!(accepts_gzip("gzip, deflate, br"));
        assert!(accepts_gzip("br;q=1.0, gzip;q=0.5"));
        assert!(accepts_gzip("*"));
        assert!(!accepts_gzip("gzip;q=0"));
        assert!(!accepts_gzip("identity"));
        assert!(!accepts_gzip(""));
    }
}
