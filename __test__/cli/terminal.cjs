// Makes a process think that a person looks.
process.stdout.isTTY = true;
process.stderr.isTTY = true;
