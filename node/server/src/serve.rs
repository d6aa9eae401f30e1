//! `ringtail serve`.

use crate::{config::Config, exit::ExitError};

pub(crate) fn serve(_config: Config) -> Result<(), ExitError> {
    Ok(())
}
