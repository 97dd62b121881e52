// Writes repository, homepage and bugs into package.json, from the variables that GitHub Actions sets. The release workflow
// runs it before `npm publish`, so that the package names the repository that it comes from.
import { readFileSync, writeFileSync } from 'node:fs';

const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository } = process.env;
if (!/^https:\/\/[\w.:-]+$/.test(server ?? '') || !/^[\w.-]+\/[\w.-]+$/.test(repository ?? '')) {
  console.error('name_repository: expected GITHUB_SERVER_URL (https://HOST) and GITHUB_REPOSITORY (OWNER/NAME)');
  process.exit(2);
}
const url = `${server}/${repository}`;
const { name, version, description, ...rest } = JSON.parse(readFileSync('package.json', 'utf8'));
const places = {
  homepage: `${url}#readme`,
  repository: { type: 'git', url: `git+${url}.git` },
  bugs: { url: `${url}/issues` },
};
writeFileSync('package.json', `${JSON.stringify({ name, version, description, ...places, ...rest }, undefined, 2)}\n`);
