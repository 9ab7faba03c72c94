import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/start.css";
import "./styles/project.css";
import "./styles/tree.css";
import "./styles/panels.css";
import "@preact/signals";
import { render } from "preact";
import { Page } from "./page";
import { applyTheme } from "./store/theme";

applyTheme();
const root = document.getElementById("page");
if (root) render(<Page />, root);
