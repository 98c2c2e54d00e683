// Certificates for a test, made with openssl.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A certificate and its key: the paths of the files, and their contents. */
export class Identity {
  readonly cert: string;
  readonly key: string;

  constructor(
    readonly certFile: string,
    readonly keyFile: string,
  ) {
    this.cert = readFileSync(certFile, "utf8");
    this.key = readFileSync(keyFile, "utf8");
  }
}

/** An authority that signs certificates for a test. */
export class Authority {
  readonly #directory = mkdtempSync(join(tmpdir(), "covara-kv-tls-"));
  readonly self: Identity;

  constructor(name: string) {
    const [cert, key] = this.#files("ca");
    this.#openssl("req", "-x509", ...this.#newKey(key), "-subj", `/CN=${name}`, "-days", "2", "-out", cert);
    this.self = new Identity(cert, key);
  }

  /** The certificate as a client's `ca` takes it. */
  get ca(): string {
    return this.self.cert;
  }

  /**
   * `extension` is openssl's text, such as `subjectAltName=DNS:localhost,IP:127.0.0.1`. Without one the certificate has version 1 of X.509.
   */
  sign(subject: string, extension: string): Identity {
    const [cert, key] = this.#files(subject);
    const request = `${cert}.csr`;
    const extensions = `${cert}.ext`;
    writeFileSync(extensions, extension);
    this.#openssl("req", "-new", ...this.#newKey(key), "-subj", `/CN=${subject}`, "-out", request);
    const by = ["-CA", this.self.certFile, "-CAkey", this.self.keyFile, "-CAcreateserial"];
    this.#openssl("x509", "-req", "-in", request, ...by, "-days", "2", "-extfile", extensions, "-out", cert);
    return new Identity(cert, key);
  }

  /** Signs as `sign` does, with a period of validity in the format of `openssl ca`: `20200101000000Z`. */
  signFor(subject: string, extension: string, from: string, until: string, signsItself = false): Identity {
    const [cert, key] = this.#files(subject);
    const [request, config, index] = [`${cert}.csr`, `${cert}.cnf`, `${cert}.index`];
    const section = ["[ca]", "default_ca=own", "[own]", `database=${index}`, "policy=any", "rand_serial=yes"];
    const lines = [
      ...section,
      ...["default_md=sha256", `new_certs_dir=${this.#directory}`],
      ...["[any]", "commonName=supplied", "[extensions]", extension],
    ];
    writeFileSync(config, lines.join("\n"));
    writeFileSync(index, "");
    this.#openssl("req", "-new", ...this.#newKey(key), "-subj", `/CN=${subject}`, "-out", request);
    const authority = ["-cert", this.self.certFile, "-keyfile", this.self.keyFile];
    const signer = signsItself ? ["-selfsign", "-keyfile", key] : authority;
    const time = ["-startdate", from, "-enddate", until, "-batch", "-notext", "-extensions", "extensions"];
    this.#openssl("ca", "-config", config, "-in", request, "-out", cert, ...signer, ...time);
    return new Identity(cert, key);
  }

  /** A certificate that signed itself. openssl marks it as an authority's by default. */
  selfSigned(subject: string, extension: string): Identity {
    const [cert, key] = this.#files(subject);
    const what = ["-subj", `/CN=${subject}`, "-addext", extension, "-days", "2"];
    this.#openssl("req", "-x509", ...this.#newKey(key), ...what, "-out", cert);
    return new Identity(cert, key);
  }

  /** The settings of redis.conf for TLS on a port, with a certificate of this authority. */
  redisConfig(port: number, { certFile, keyFile }: Identity, clients = "no"): Record<string, string> {
    return {
      "tls-port": `${port}`,
      "tls-cert-file": certFile,
      "tls-key-file": keyFile,
      "tls-ca-cert-file": this.self.certFile,
      "tls-auth-clients": clients,
    };
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #files(name: string): [cert: string, key: string] {
    return [join(this.#directory, `${name}.crt`), join(this.#directory, `${name}.key`)];
  }

  #newKey(file: string): string[] {
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", file];
  }

  #openssl(...args: string[]): void {
    execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
  }
}
