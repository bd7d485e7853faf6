//! How the page looks.

use std::fmt::Write as _;

use super::{KINDS, ZOOMS};

/// What holds always.
pub const STYLE: &str = "\
html{background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}\
main{max-width:1200px;margin:auto;padding:1rem}\
h1{font-size:1.4rem}h2{font-size:1.05rem;margin:0;display:inline}h3{font-size:1rem;margin:0}\
a{color:inherit}\
table{border-collapse:collapse;width:100%;font:12px/1.5 ui-monospace,monospace}\
th,td{text-align:left;vertical-align:top;padding:.15rem .6rem .15rem 0;\
border-bottom:1px solid var(--line);overflow-wrap:anywhere}\
td:first-child,th{white-space:nowrap;overflow-wrap:normal}.start td:nth-child(3){white-space:nowrap}td.time{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
tr:target{outline:2px solid var(--ink)}\
.about{color:var(--faint);font-size:.85rem;overflow-wrap:anywhere}\
td.error,span.error,p.error{color:var(--error)}td.warning,span.warning,p.warning{color:var(--warning)}\
td.good,span.good{color:var(--good)}td.faint{color:var(--faint)}\
.start{border-top:1px solid var(--line);padding:.8rem 0}\
summary{cursor:pointer;overflow-wrap:anywhere}\
.figure{display:grid;grid-template-columns:160px 1fr;margin:.6rem 0}\
.scroll{overflow-x:auto;padding:0 8px}\
.plot{width:max(772px,100%);display:block;overflow:visible}\
.alert{border-left:4px solid var(--warning);padding:.3rem .8rem;margin:.6rem 0}\
.alert.error{border-color:var(--error)}\
.alert dt{font-weight:bold}.alert dd{margin:0 0 .3rem;white-space:pre-wrap;overflow-wrap:anywhere}\
.choices{display:flex;flex-wrap:wrap;gap:1rem}\
.choices label{margin-right:.8rem;white-space:nowrap}\
fieldset{border:1px solid var(--line)}\
footer{border-top:1px solid var(--line);color:var(--faint);font-size:.85rem}\
@media print{.choices{display:none}.figure,.alert,tr{break-inside:avoid}summary{break-after:avoid}.scroll{overflow:visible}\
.plot{width:100%}details::details-content{content-visibility:visible;display:block}}";

/// What is chosen at the top of the page. It is looked for in its form alone: a browser that has to
/// look through the whole page takes minutes to print one of hundreds of starts.
pub fn choices() -> String {
    let mut style = String::new();
    for (kind, _) in KINDS {
        let _ = write!(
            style,
            ".choices:has(#kind-{kind}:not(:checked))~details tr.{kind}{{display:none}}"
        );
    }
    for zoom in ZOOMS {
        // On paper there is no more room than the page has.
        let _ = write!(
            style,
            "@media screen{{.choices:has(#zoom-{zoom}:checked)~details \
             .plot{{width:calc({zoom}*max(772px,100%))}}}}"
        );
    }
    style
}
