//! Collect and enrich: the gateway between the sites' visitors and the router.

use std::sync::Arc;

use ringtail_gateway::{Gateway, GatewaySettings, Rate, Salts};

use super::{damaged, ground::Ground, groups::Groups};
use crate::{
    collecting::{DirectorySites, RouterSink},
    config::Config,
    data_directory::DataDirectory,
    exit::{Exit, ExitError},
};

/// The gateway, and the salts by which it knows visitors.
pub(super) fn open(
    config: &Config,
    data: &DataDirectory,
    ground: &Ground,
    groups: &Groups,
) -> Result<(Arc<Gateway>, Arc<Salts>), ExitError> {
    let clock = Arc::clone(&ground.clock);
    let clock = ringtail_gateway::Clock::new(move || clock.now());
    let salts = Salts::open(&data.salts(), clock.clone()).map_err(damaged)?;
    let salts = Arc::new(salts);
    let gateway = Gateway::new(
        settings(config)?,
        Arc::new(DirectorySites::new(ground.metadata.directory())),
        Arc::new(RouterSink(groups.router.clone())),
        Arc::clone(&salts),
        clock,
    );
    Ok((Arc::new(gateway), salts))
}

fn settings(config: &Config) -> Result<GatewaySettings, ExitError> {
    let trusted_proxies = config
        .trusted_proxies
        .join(",")
        .parse()
        .map_err(|error| ExitError::new(Exit::Usage, format!("trusted_proxies: {error}")))?;
    Ok(GatewaySettings {
        trusted_proxies,
        site_rate: Rate::per_second(config.site_events_per_second_max),
        address_rate: Rate::per_second(config.address_events_per_second_max),
        ..GatewaySettings::default()
    })
}
