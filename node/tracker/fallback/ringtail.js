console.warn(
  "Ringtail: this node was compiled without its browser script, so nothing is counted here. Run `cargo xtask build` in its source folder and start it again.",
);
