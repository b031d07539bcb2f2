// The frames in which wide tables scroll can be reached by the keyboard.
document$.subscribe(() => setTimeout(() => {
  for (const frame of document.querySelectorAll(".md-typeset__scrollwrap")) frame.tabIndex = 0;
}));
