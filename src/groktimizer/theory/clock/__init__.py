"""When a sum of exponentials crosses a level, first and for good; and claims with the conditions that they rest on."""
