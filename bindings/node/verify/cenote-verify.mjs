#!/usr/bin/env node
import { main } from './cli.mjs';

// A step that never ended may keep the process alive: the answer is known, so it ends here.
const status = await main(process.argv.slice(2));
process.stdout.write('', () => process.exit(status));
