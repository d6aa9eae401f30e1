//! Why an event was not counted.

use std::fmt;

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why an event was not counted: one reason for each drop, one counter for each reason.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[$doc])* $name = $code,)*
        }

        impl DropReason {
            /// Every reason, in the order of its code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name used in answers and metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The code used in stored entries; 0 is never a reason.
            #[must_use]
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// The reason with this code.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

drop_reasons! {
    /// No site of this domain.
    UnknownSite = 1, "unknown_site";
    /// The site is paused.
    Paused = 2, "paused";
    /// The page's origin is not one of the site's domains.
    Origin = 3, "origin";
    /// The visitor did not consent, and the site asks for consent.
    Consent = 4, "consent";
    /// The browser asks not to be tracked, and the site obeys.
    DoNotTrack = 5, "do_not_track";
    /// A robot, or no user agent at all.
    Bot = 6, "bot";
    /// Over the rate that the site or the address may send.
    RateLimited = 7, "rate_limited";
    /// Not understood: missing fields, wrong types, a broken line.
    Malformed = 8, "malformed";
    /// A field is longer than its limit.
    TooLong = 9, "too_long";
    /// The time is more than 72 hours before receipt.
    TooLate = 10, "too_late";
    /// The event made apply fail; it is skipped on every replica alike.
    Poisoned = 11, "poisoned";
    /// A request in an imported log that is no page view.
    NotAPageview = 12, "not_a_pageview";
    /// The time cannot be a time of an event.
    AbsurdTime = 13, "absurd_time";
    /// The visitor or user is left out of the site's history by request.
    Erased = 14, "erased";
}

impl DropReason {
    /// True when the dropped event travels on and is stored, so that a wrong rule can be repaired.
    #[must_use]
    pub const fn is_stored(self) -> bool {
        matches!(self, Self::Bot | Self::Origin)
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
