// How the page looks, and what answers the mouse. Nothing in either comes from a run.
#pragma once

namespace switchyard::page {

extern const char* const chart_style;  // CSS of the charts and the colours of both themes
extern const char* const page_style;   // CSS of everything else
extern const char* const page_script;  // JavaScript: reads values where the mouse is, and colours tokens by layer

}  // namespace switchyard::page
