"""The page's style sheet: light and dark, a phone, a desk and A4."""

from __future__ import annotations

_LIGHT = (
    "--paper:#f6f6f3;--panel:#fff;--ink:#16191d;--quiet:#565d66;--edge:#d3d7db;--line:#e6e8ea;"
    "--link:#0b57a4;--right:#0a6b3d;--wrong:#b3261e;--warn:#8a4b00;--warn-paper:#fff3dc;"
    # Okabe and Ito's colours, which colour-blind people tell apart; darker where white needs it.
    "--s0:#0072b2;--s1:#c24e00;--s2:#00805f;--s3:#a8558a;--s4:#9a6a00;--s5:#3d7ea6;"
)
_DARK = (
    "--paper:#101317;--panel:#181c21;--ink:#eceff2;--quiet:#a4adb6;--edge:#39414a;--line:#2a3037;"
    "--link:#8cc2ff;--right:#5fd39a;--wrong:#ff8a7d;--warn:#ffc069;--warn-paper:#2d2415;"
    "--s0:#58b4ee;--s1:#ff9a52;--s2:#43d1a5;--s3:#e79bc8;--s4:#f0bf45;--s5:#a7d8f5;"
)

STYLE = (
    ":root{color-scheme:light;--sans:system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif;"
    + _LIGHT
    + "}@media screen and (prefers-color-scheme:dark){:root{color-scheme:dark;"
    + _DARK
    + "}}"
    + """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:1rem/1.5 var(--sans)}
main,header,footer{max-width:72rem;margin:0 auto;padding:0 1rem}
header{padding-top:2rem}
h1{font-size:1.75rem;line-height:1.2;letter-spacing:-.015em;margin:0 0 .4rem}
h2{font-size:1.25rem;line-height:1.3;margin:0 0 .6rem;letter-spacing:-.01em}
h3{font-size:1rem;margin:1.6rem 0 .4rem;overflow-wrap:anywhere}
p{margin:.5rem 0;max-width:46rem;overflow-wrap:anywhere}
a{color:var(--link)}
nav{margin:1rem 0 0;display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;font-size:.9375rem}
section{background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:1.25rem;margin:1.25rem 0}
.quiet,.notes p,figcaption{color:var(--quiet);font-size:.875rem}
.notes p{margin:.35rem 0}
.warn{background:var(--warn-paper);border-left:4px solid var(--warn);padding:.5rem .8rem;margin:.5rem 0;max-width:none}
.warn b{color:var(--warn)}
ul.short{padding-left:1.2rem;max-width:54rem;margin:.6rem 0}
ul.short li{margin:.3rem 0;overflow-wrap:anywhere}
.wide{overflow-x:auto;margin:.9rem 0;scrollbar-width:thin}
.wide:focus-visible{outline:2px solid var(--link);outline-offset:2px}
table{border-collapse:collapse;width:100%;font-size:.9375rem;font-variant-numeric:tabular-nums}
.slim{width:auto}
caption{text-align:left;font-weight:600;padding:0 0 .5rem;caption-side:top}
caption span{display:block;position:sticky;left:0;max-width:calc(100vw - 3rem)}
th,td{padding:.35rem .6rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--line);font-weight:400}
thead th{vertical-align:bottom;color:var(--quiet);font-size:.8125rem;line-height:1.3;border-bottom:1px solid var(--quiet)}
thead .over{color:var(--ink);font-weight:600;border-bottom:1px solid var(--edge);text-align:left;padding-bottom:.2rem}
thead .groups td{border:0}
th:first-child,td:first-child{padding-left:0}
tbody th[scope=row]{position:sticky;left:0;background:var(--panel);min-width:7.5rem}
.part th{font-weight:600;padding-top:.9rem;border-bottom:1px solid var(--edge)}
.part th span{position:sticky;left:0}
.n{text-align:right;white-space:nowrap}
thead .n{white-space:normal}
.s{white-space:nowrap} .l{min-width:16rem}
.unit{font-size:.75rem}
.detail{display:block;font-size:.8125rem;color:var(--quiet);white-space:nowrap}
th .detail{white-space:normal}
.predicted{font-style:italic}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,21rem),1fr));gap:1.5rem 2rem;margin:1rem 0}
.plots>div{min-width:0}
figure{margin:0;min-width:0;max-width:27rem}
figure svg{display:block;width:100%;height:auto;overflow:visible}
figure b{display:block;font-size:.9375rem;line-height:1.35;margin-bottom:.3rem;overflow-wrap:anywhere}
figcaption{margin-top:.35rem}
ul.key{list-style:none;display:flex;flex-wrap:wrap;gap:.15rem 1rem;padding:0;margin:.5rem 0 0;font-size:.875rem}
ul.key li{display:flex;gap:.4rem;align-items:center;overflow-wrap:anywhere;min-width:0}
ul.key svg{width:1.7rem;height:.8rem;flex:none}
.mark{font-size:.875rem;width:1rem;text-align:center;flex:none}
code,pre{font:.875rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
pre{background:var(--paper);border:1px solid var(--line);border-radius:6px;padding:.8rem;white-space:pre-wrap;overflow-wrap:anywhere;margin:.6rem 0}
.case{border-top:1px solid var(--line);padding:.9rem 0 .3rem}
.case p{margin:0 0 .4rem}
.strip{display:flex;gap:.4rem;overflow-x:auto;padding:.15rem 0 .5rem;align-items:flex-start}
.strip>div{flex:none;width:4.1rem;font-size:.75rem;line-height:1.3;text-align:center;font-variant-numeric:tabular-nums}
.strip .who{width:4.6rem;text-align:left;font-weight:600;align-self:center;position:sticky;left:0;background:var(--panel);padding-right:.3rem;z-index:1;font-size:.8125rem;overflow-wrap:break-word}
.strip img,.strip .none{display:block;width:100%;height:8.2rem;object-fit:cover;border-radius:3px;background:var(--line)}
.strip .none{height:2.4rem;font-size:1.1rem;line-height:2.1rem}
.asked img{border:3px solid var(--ink)}
.right img,.right .none{border:3px solid var(--right)}
.wrong img,.wrong .none{border:3px dashed var(--wrong)}
.right span{color:var(--right);font-weight:600}
.wrong span{color:var(--wrong);font-weight:600}
details{margin:.8rem 0}
summary{cursor:pointer;font-weight:600}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
footer{color:var(--quiet);font-size:.875rem;padding-bottom:2rem}
@media (max-width:40rem){
 h1{font-size:1.4rem} section{padding:.9rem .8rem;border-radius:0;margin-left:-1rem;margin-right:-1rem;border-left:0;border-right:0}
 table{font-size:.875rem} th,td{padding:.3rem .45rem}
}
@page{size:A4;margin:13mm}
@media print{
 html{font-size:9pt} body{background:#fff} main,header,footer{max-width:none;padding:0} nav{display:none}
 caption span{max-width:none} .l{min-width:0} tbody th[scope=row]{position:static;min-width:5.5rem}
 section{border:0;padding:0;margin:0 0 7mm} .wide,.strip{overflow:visible}
 table{font-size:.875rem} th,td{padding:1mm 1.2mm} .detail{font-size:.78rem} thead th{font-size:.78rem}
 tr,figure,.case,.warn{break-inside:avoid} h2,h3,caption{break-after:avoid}
 .plots{grid-template-columns:repeat(3,1fr);gap:4mm} figure{max-width:none} figure b{font-size:.9rem}
 .strip{gap:1mm} .strip>div{width:13.5mm} .strip .who{width:14mm} .strip img{height:27mm}
 .right img,.wrong img,.mark,ul.key svg,.warn{print-color-adjust:exact;-webkit-print-color-adjust:exact}
}
"""
)
