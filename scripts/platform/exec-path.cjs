// Loaded first by a Node.js that an emulator runs: its children are to be started as it was.
process.execPath = process.env.COVARA_KV_NODE;
