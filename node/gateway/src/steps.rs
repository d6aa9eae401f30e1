//! The steps of the pipeline, one file each. Their order stands in `pipeline.rs`.

pub(crate) mod acquisition;
pub(crate) mod bot;
pub(crate) mod consent;
pub(crate) mod country;
pub(crate) mod limits;
pub(crate) mod origin;
pub(crate) mod site;
pub(crate) mod stored_drops;
pub(crate) mod url_privacy;
pub(crate) mod user_agent;
pub(crate) mod visitor;

#[cfg(test)]
pub(crate) mod bench;
