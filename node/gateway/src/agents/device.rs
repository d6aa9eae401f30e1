//! Kinds of device, and names as people say them.

/// `Desktop`, `Mobile`, `Tablet`, `TV`, `Console`, `Wearable`, or empty when the user agent does not tell.
pub(super) fn class(user_agent: &str, os: &str) -> &'static str {
    let has = |needles: &[&str]| needles.iter().any(|needle| user_agent.contains(needle));
    if has(&[
        "SmartTV",
        "SMART-TV",
        "Smart-TV",
        "AppleTV",
        "Apple TV",
        "GoogleTV",
        "BRAVIA",
        "Roku",
        "HbbTV",
        "AFTT",
        "AFTM",
        "Web0S",
        "Android TV",
        "CrKey",
    ]) {
        return "TV";
    }
    if has(&["PlayStation", "PLAYSTATION", "Xbox", "Nintendo"]) {
        return "Console";
    }
    if has(&["Watch OS", "watchOS", "WatchOS", "Wear OS"]) {
        return "Wearable";
    }
    if has(&["iPad", "Tablet", "tablet", "Kindle", "Silk/", "PlayBook"])
        || (has(&["Android"]) && !has(&["Mobile", "Mobi"]))
    {
        return "Tablet";
    }
    if has(&[
        "Mobi",
        "iPhone",
        "iPod",
        "Android",
        "Windows Phone",
        "BlackBerry",
        "Opera Mini",
        "IEMobile",
        "webOS",
        "Symbian",
    ]) {
        return "Mobile";
    }
    if matches!(
        os,
        "Windows"
            | "macOS"
            | "Linux"
            | "Chrome OS"
            | "Ubuntu"
            | "Debian"
            | "Fedora"
            | "FreeBSD"
            | "OpenBSD"
            | "NetBSD"
            | "Solaris"
    ) || has(&["Windows NT", "Macintosh", "X11", "Linux x86_64", "CrOS"])
    {
        return "Desktop";
    }
    ""
}

/// The browser's name without its device, which has a dimension of its own.
pub(super) fn browser_name(family: &str) -> &str {
    match family {
        "Other" => "",
        "Chrome Mobile" | "Chrome Mobile iOS" => "Chrome",
        "Mobile Safari" | "Mobile Safari UI/WKWebView" => "Safari",
        "Firefox Mobile" | "Firefox iOS" => "Firefox",
        "Edge Mobile" => "Edge",
        "Opera Mobile" => "Opera",
        "IE Mobile" => "IE",
        other => other,
    }
}

/// The system's name.
pub(super) fn system_name(family: &str) -> &str {
    match family {
        "Other" => "",
        "Mac OS X" | "Mac OS" => "macOS",
        other => other,
    }
}

/// Classes of screen by width in CSS pixels.
pub(crate) fn screen_class(width: u32) -> &'static str {
    match width {
        0 => "",
        1..576 => "Mobile",
        576..992 => "Tablet",
        992..1440 => "Laptop",
        _ => "Desktop",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn screens_have_classes_by_width() {
        let check = |width, expect: &str| assert_eq!(screen_class(width), expect, "{width}");
        check(0, "");
        check(1, "Mobile");
        check(575, "Mobile");
        check(576, "Tablet");
        check(991, "Tablet");
        check(992, "Laptop");
        check(1439, "Laptop");
        check(1440, "Desktop");
        check(u32::MAX, "Desktop");
    }

    #[test]
    fn uncommon_devices_are_told_by_their_marks() {
        let check = |user_agent: &str, expect: &str| {
            assert_eq!(class(user_agent, ""), expect, "{user_agent}")
        };
        check(
            "Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/537.36",
            "TV",
        );
        check(
            "Mozilla/5.0 (PlayStation; PlayStation 5/2.26) AppleWebKit/605.1.15",
            "Console",
        );
        check("Mozilla/5.0 (Linux; Android 12; Silk/120) Mobile", "Tablet");
        check(
            "Opera/9.80 (J2ME/MIDP; Opera Mini/9.80) Presto/2.12",
            "Mobile",
        );
        check("", "");
    }
}
