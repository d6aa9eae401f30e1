//! What a report can be broken down by.

/// A breakdown that cells answer. Visit dimensions have the value of the visit's earliest event (exit page: of its
/// latest page view); event dimensions have a value per event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// No breakdown: the site as a whole.
    Total,
    /// Path of the page.
    Page,
    /// Host of the page.
    Hostname,
    /// Name of the event.
    EventName,
    /// A goal that the event met.
    Goal,
    /// Value of the custom property in this slot of the site's settings (0..16).
    Property(u8),
    /// First page of the visit.
    EntryPage,
    /// Last page of the visit.
    ExitPage,
    /// Referring page.
    Referrer,
    /// Source.
    Source,
    /// Channel.
    Channel,
    /// `utm_source`.
    UtmSource,
    /// `utm_medium`.
    UtmMedium,
    /// `utm_campaign`.
    UtmCampaign,
    /// `utm_content`.
    UtmContent,
    /// `utm_term`.
    UtmTerm,
    /// ISO 3166-1 alpha-2.
    Country,
    /// ISO 3166-2.
    Region,
    /// City.
    City,
    /// Browser family.
    Browser,
    /// Browser family and version.
    BrowserVersion,
    /// Operating system.
    Os,
    /// Operating system and version.
    OsVersion,
    /// Device class.
    Device,
    /// Screen class.
    Screen,
    /// Language.
    Language,
}

impl Dimension {
    /// Every dimension but the properties, in the order of its code.
    pub const ALL: [Self; 25] = [
        Self::Total,
        Self::Page,
        Self::Hostname,
        Self::EventName,
        Self::Goal,
        Self::EntryPage,
        Self::ExitPage,
        Self::Referrer,
        Self::Source,
        Self::Channel,
        Self::UtmSource,
        Self::UtmMedium,
        Self::UtmCampaign,
        Self::UtmContent,
        Self::UtmTerm,
        Self::Country,
        Self::Region,
        Self::City,
        Self::Browser,
        Self::BrowserVersion,
        Self::Os,
        Self::OsVersion,
        Self::Device,
        Self::Screen,
        Self::Language,
    ];

    /// The number of property slots of a site.
    pub const PROPERTY_SLOTS: u8 = 16;

    /// The code under which pages are stored; never changes.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Total => 0,
            Self::Page => 1,
            Self::Hostname => 2,
            Self::EventName => 3,
            Self::Goal => 4,
            Self::EntryPage => 5,
            Self::ExitPage => 6,
            Self::Referrer => 7,
            Self::Source => 8,
            Self::Channel => 9,
            Self::UtmSource => 10,
            Self::UtmMedium => 11,
            Self::UtmCampaign => 12,
            Self::UtmContent => 13,
            Self::UtmTerm => 14,
            Self::Country => 15,
            Self::Region => 16,
            Self::City => 17,
            Self::Browser => 18,
            Self::BrowserVersion => 19,
            Self::Os => 20,
            Self::OsVersion => 21,
            Self::Device => 22,
            Self::Screen => 23,
            Self::Language => 24,
            Self::Property(slot) => 1000 + slot as u32,
        }
    }

    /// True when the value belongs to each event rather than to the visit.
    #[must_use]
    pub const fn is_of_events(self) -> bool {
        matches!(
            self,
            Self::Page | Self::Hostname | Self::EventName | Self::Goal | Self::Property(_)
        )
    }
}
