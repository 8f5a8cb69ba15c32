/** The look of the report: one style sheet, light and dark, that follows the plots' colours and prints well. */
import { fontFamily, themeVariables } from '../svg.js';

const dark = '@media (prefers-color-scheme:dark)';

export const pageStyle = `
:root{color-scheme:light dark;${themeVariables('light')};
--page:#f4f6f8;--good:#1f7a4d;--note:#fff6e0;--note-line:#d9a300}
${dark}{:root{${themeVariables('dark')};--page:#0e1115;--good:#5cc98f;--note:#2c2410;--note-line:#b98a00}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--plot-ink);font:15px/1.5 ${fontFamily}}
main{max-width:862px;margin:0 auto;padding:32px 16px 64px}
h1{font-size:24px;line-height:1.25;margin:0 0 4px}
h2{font-size:17px;margin:40px 0 4px}
p{margin:6px 0}
.muted,figcaption,footer{color:var(--plot-muted)}
.lead{margin:0}
figcaption{font-size:13px;margin-top:6px}
.card{background:var(--plot-surface);border:1px solid var(--plot-grid);border-radius:8px;padding:14px;margin:12px 0}
.scroll{overflow-x:auto}
figure{margin-inline:0}
figure svg{display:block}
.narrow{display:none}
a{color:var(--plot-s0)}
.numbers{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:10px;margin:20px 0 6px}
.numbers>div{background:var(--plot-surface);border:1px solid var(--plot-grid);border-radius:8px;padding:10px 14px}
.numbers strong{display:block;font-size:25px;line-height:1.25;font-variant-numeric:tabular-nums}
.numbers span{font-size:13px;color:var(--plot-muted);display:block;line-height:1.35}
.better strong{color:var(--good)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:6px 16px;margin:0}
dt{font-weight:600}
dd{margin:0}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th{text-align:left;font-weight:600;color:var(--plot-muted);font-size:13px}
th,td{padding:5px 10px 5px 0;border-bottom:1px solid var(--plot-grid);vertical-align:top}
tr:last-child td{border-bottom:0}
.number{text-align:right;white-space:nowrap}
.chosen td{font-weight:600}
.name{white-space:nowrap}
.name .muted{font-size:13px;font-weight:400}
.note{background:var(--note);border-left:4px solid var(--note-line);border-radius:4px;padding:10px 14px;margin:16px 0}
code{font-family:ui-monospace,'DejaVu Sans Mono',monospace;font-size:13px;overflow-wrap:anywhere}
td code{white-space:pre-wrap}
ul{margin:6px 0;padding-left:20px}
footer{margin-top:48px;font-size:13px}
@media (max-width:640px){main{padding:20px 10px 48px}.card{padding:14px 10px}figure.card{padding:12px 6px}
dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:8px}h1{font-size:20px}.numbers{grid-template-columns:1fr 1fr}
.numbers strong{font-size:21px}.wide{display:none}.narrow{display:block}
.strategies thead{display:none}.strategies tr,.strategies td{display:block}
.strategies tr{padding:8px 0;border-bottom:1px solid var(--plot-grid)}.strategies tr:last-child{border-bottom:0}
.strategies td{border:0;padding:2px 0}.strategies td.number{display:flex;justify-content:space-between}
.strategies td.number::before{content:attr(data-head);color:var(--plot-muted);font-weight:400}}
@media print{body{background:none}.card,.numbers>div{break-inside:avoid}}
`.trim();
