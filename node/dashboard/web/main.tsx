import { render } from "solid-js/web";
import { App } from "./view/app";
import "./style/base.css";
import "./style/page.css";
import "./style/overview.css";
import "./style/panel.css";

render(() => <App />, document.getElementById("app")!);
