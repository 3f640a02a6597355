"""How it is measured: timing, the machine's limits, comparison, the gate, the report and plots."""
