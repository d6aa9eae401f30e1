//! The bare peer of the beacon figure: actix-web that reads a body and answers it.

use std::io::Write;

use actix_web::{App, HttpServer, web};

/// Serves until the process is ended; tells its address in one line on stdout.
///
/// # Errors
/// When no port is free.
pub fn serve() -> anyhow::Result<()> {
    actix_web::rt::System::new().block_on(async {
        let server = HttpServer::new(|| {
            App::new().route(
                "/api/event",
                web::post().to(|body: web::Bytes| async move { body }),
            )
        })
        .bind("127.0.0.1:0")?;
        let address = server.addrs().first().copied();
        if let Some(address) = address {
            writeln!(std::io::stdout(), "{address}")?;
        }
        server.run().await?;
        Ok(())
    })
}
