//! What a browser shows instead of the page when a request is rejected: a few sentences in both languages.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderValue};

/// Returns whether the request is for a document that a person reads.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT);
    accepted
        .and_then(|accepted| accepted.to_str().ok())
        .is_some_and(|accepted| accepted.contains("text/html"))
}

/// Replaces the body of a rejection by a document; a status that has none stays as it is.
pub(crate) fn dress(response: HttpResponse) -> HttpResponse {
    let (english, chinese) = match response.status() {
        StatusCode::UNAUTHORIZED => (
            "This page needs its token. Open the login link that was printed when the program started. Where you have set the \
             token yourself, open /login?token= followed by it. After a restart a drawn token is a new one.",
            "本页需要令牌。请打开程序启动时打印的登录链接；若令牌由您设定，请打开 /login?token= 并在其后填入令牌。\
             若令牌为随机生成，重启后会更换。",
        ),
        StatusCode::TOO_MANY_REQUESTS => (
            "Too many wrong tokens came from this address. Wait a minute, then open the login link.",
            "此地址提交的错误令牌过多。请等待一分钟，再打开登录链接。",
        ),
        StatusCode::MISDIRECTED_REQUEST => (
            "This page is not served under this host name. Use the address that was printed when the program started, or add \
             the name to its hosts.",
            "本页不在此主机名下提供。请使用程序启动时打印的地址，或将该主机名加入 hosts。",
        ),
        _ => return response,
    };
    let text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">\
         <title>HEQIS</title></head>\n<body><main><h1>HEQIS</h1>\n<p>{english}</p>\n<p lang=\"zh-CN\">{chinese}</p></main>\
         </body>\n</html>\n"
    );
    let mut dressed = response.set_body(text).map_into_boxed_body();
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    dressed.headers_mut().insert(header::CONTENT_TYPE, html);
    dressed
}
