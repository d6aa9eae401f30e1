//! What a query can break down by, by its name in the API.

use ringtail_analytics::Dimension;

use crate::{
    countries::country_name,
    error::{QueryError, invalid},
    source::SiteSource,
};

/// A dimension of time, or one that cells have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QueryDimension {
    /// None: the interval that suits the range.
    Time(Option<Interval>),
    Value(ValueDimension),
}

/// The width of a bucket of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Interval {
    Minute,
    Hour,
    Day,
    Week,
    Month,
}

/// A dimension that cells have, and how its values are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ValueDimension {
    pub(crate) dimension: Dimension,
    /// The name in the query.
    pub(crate) name: String,
    /// Country codes become names.
    is_country_name: bool,
}

impl Interval {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Minute => "time:minute",
            Self::Hour => "time:hour",
            Self::Day => "time:day",
            Self::Week => "time:week",
            Self::Month => "time:month",
        }
    }
}

impl QueryDimension {
    /// Reads a name; custom properties are those of the site's settings.
    pub(crate) fn parse(name: &str, site: &dyn SiteSource) -> Result<Self, QueryError> {
        let interval = match name {
            "time" => return Ok(Self::Time(None)),
            "time:minute" => Some(Interval::Minute),
            "time:hour" => Some(Interval::Hour),
            "time:day" => Some(Interval::Day),
            "time:week" => Some(Interval::Week),
            "time:month" => Some(Interval::Month),
            _ => None,
        };
        if let Some(interval) = interval {
            return Ok(Self::Time(Some(interval)));
        }
        if let Some(key) = name.strip_prefix("event:props:") {
            let Some(slot) = site.property_slot(key) else {
                return invalid(format!(
                    "property {key:?} has no cells: add it to the site's property keys first"
                ));
            };
            return Ok(Self::Value(ValueDimension {
                dimension: Dimension::Property(slot),
                name: name.to_owned(),
                is_country_name: false,
            }));
        }
        let Some(dimension) = value_dimension(name) else {
            return invalid(format!("dimension {name:?} is not known"));
        };
        Ok(Self::Value(ValueDimension {
            dimension,
            name: name.to_owned(),
            is_country_name: name == "visit:country_name",
        }))
    }

    /// The name in the query.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Time(None) => "time",
            Self::Time(Some(interval)) => interval.name(),
            Self::Value(value) => &value.name,
        }
    }
}

impl ValueDimension {
    /// How a value is shown; the empty one as Plausible shows it.
    pub(crate) fn label(&self, value: &str) -> String {
        if value.is_empty() {
            return self.empty_label().to_owned();
        }
        if self.is_country_name {
            return country_name(value).unwrap_or(value).to_owned();
        }
        value.to_owned()
    }

    fn empty_label(&self) -> &'static str {
        match self.dimension {
            Dimension::Source | Dimension::Referrer => "Direct / None",
            Dimension::Channel => "Direct",
            Dimension::Property(_) => "(none)",
            _ => "(not set)",
        }
    }
}

fn value_dimension(name: &str) -> Option<Dimension> {
    Some(match name {
        "event:page" => Dimension::Page,
        "event:hostname" => Dimension::Hostname,
        "event:name" => Dimension::EventName,
        "event:goal" => Dimension::Goal,
        "visit:entry_page" => Dimension::EntryPage,
        "visit:exit_page" => Dimension::ExitPage,
        "visit:referrer" => Dimension::Referrer,
        "visit:source" => Dimension::Source,
        "visit:channel" => Dimension::Channel,
        "visit:utm_source" => Dimension::UtmSource,
        "visit:utm_medium" => Dimension::UtmMedium,
        "visit:utm_campaign" => Dimension::UtmCampaign,
        "visit:utm_content" => Dimension::UtmContent,
        "visit:utm_term" => Dimension::UtmTerm,
        "visit:country" | "visit:country_name" => Dimension::Country,
        // Regions are stored by their ISO 3166-2 code and cities by their name: the databases in use give no other.
        "visit:region" | "visit:region_name" => Dimension::Region,
        "visit:city" | "visit:city_name" => Dimension::City,
        "visit:browser" => Dimension::Browser,
        "visit:browser_version" => Dimension::BrowserVersion,
        "visit:os" => Dimension::Os,
        "visit:os_version" => Dimension::OsVersion,
        "visit:device" => Dimension::Device,
        "visit:screen" => Dimension::Screen,
        "visit:language" => Dimension::Language,
        _ => return None,
    })
}
