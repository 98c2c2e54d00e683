// Loaded before the CLI, so that it takes its output for a terminal.
process.stdout.isTTY = true;
process.stderr.isTTY = true;
