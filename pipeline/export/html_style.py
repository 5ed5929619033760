"""The style sheet of `html_page`: light and dark, readable on paper and on a narrow screen."""

STYLE = """
:root{color-scheme:light dark;--line:#8884;--c1:#e5484d66;--c2:#f5a52455;--c3:#f5d90a44;--c4:transparent}
*{box-sizing:border-box}
body{font:16px/1.55 system-ui,sans-serif;max-width:72rem;margin:0 auto;padding:1.5rem}
h1{font-size:1.35rem;margin:0 0 .3rem;overflow-wrap:anywhere}
h2{font-size:1.05rem;margin:1.8rem 0 .6rem}
header p{margin:.1rem 0}
time{font-variant-numeric:tabular-nums;opacity:.7;font-size:.85em}
.legend span,.legend b{padding:.05rem .4rem;border-radius:.2rem;margin-right:.3rem}
.c1{background:var(--c1);text-decoration:underline dotted}
.c2{background:var(--c2)}.c3{background:var(--c3)}.c4{background:var(--c4)}
.gap{background:repeating-linear-gradient(45deg,#8883 0 5px,#8881 5px 10px);border-radius:.2rem}
.row{display:grid;grid-template-columns:4.5rem 1fr;border-top:1px solid var(--line)}
.lanes{position:relative;padding:.15rem 0}
.lane{position:relative;height:1.5rem;border-left:3px solid transparent}
.lane a{position:absolute;top:.1rem;height:1.3rem;font-size:.75rem;line-height:1.3rem;padding:0 1px;
overflow:hidden;white-space:nowrap;text-overflow:clip;color:inherit;text-decoration:none;
border:1px solid var(--line);border-radius:.15rem}
.lane a:hover,.lane a:focus{overflow:visible;z-index:1;background:Canvas;outline:2px solid Highlight}
.band{position:absolute;top:0;bottom:0}
.pause{margin:.2rem 0 .2rem 4.5rem;padding:.1rem .5rem;font-size:.85rem;opacity:.8}
main section p{margin:.35rem 0}
section p>a{color:inherit}
:target{outline:2px solid Highlight;border-radius:.2rem}
.v0{border-color:#3e63dd!important;color:#3e63dd}.v1{border-color:#ad5700!important;color:#ad5700}
.v2{border-color:#218358!important;color:#218358}.v3{border-color:#8145b5!important;color:#8145b5}
.v4{border-color:#ca244d!important;color:#ca244d}.v5{border-color:#0d74ce!important;color:#0d74ce}
.v6{border-color:#6f6e00!important;color:#6f6e00}.v7{border-color:#777!important;color:#777}
.lane a{color:CanvasText}
@media print{body{max-width:none;padding:0;font-size:11pt}.row{break-inside:avoid}}
"""
