/** The well-known formats of `buf.validate.StringRules`: strings that have the format, and strings that nearly have it. */
export const stringFormats: Readonly<Record<string, { fits: readonly string[]; breaks: readonly string[] }>> = {
  email: {
    fits: ["ada@example.com", "ada+keys@mail.example.org", "a.b'c@x.example"],
    breaks: ["", "ada", "@example.com", "ada@", "ada@@example.com", "ada lovelace@example.com", "ada@exa_mple.com"],
  },
  hostname: {
    fits: ["example.com", "localhost", "a-b.example"],
    breaks: ["", "-a.example", "a..b", "a b", "exa_mple.com", "a".repeat(64), "127.0.0.1"],
  },
  ip: { fits: ["127.0.0.1", "::1", "2001:db8::1"], breaks: ["", "256.0.0.1", "1.2.3", ":::", "example.com"] },
  ipv4: { fits: ["127.0.0.1", "203.0.113.9"], breaks: ["", "::1", "256.0.0.1", "1.2.3", "01.2.3.4"] },
  ipv6: { fits: ["::1", "2001:db8::1"], breaks: ["", "127.0.0.1", ":::", "2001:db8::g"] },
  uri: {
    fits: ["https://example.com/a?b=c#d", "urn:isbn:0451450523"],
    breaks: ["", "/relative", "https://exa mple.com", "https://example.com/%zz"],
  },
  uri_ref: { fits: ["https://example.com/", "/relative?x=1", ""], breaks: ["/a b", "/%zz", "http://[::1"] },
  address: { fits: ["example.com", "127.0.0.1", "::1"], breaks: ["", "exa_mple.com", "a b", ":::"] },
  host_and_port: {
    fits: ["example.com:443", "127.0.0.1:8091", "[::1]:80"],
    breaks: ["", "example.com", ":80", "example.com:65536", "::1:80:x"],
  },
  uuid: {
    fits: ["123e4567-e89b-12d3-a456-426614174000"],
    breaks: ["", "123e4567e89b12d3a456426614174000", "123e4567-e89b-12d3-a456-42661417400g"],
  },
  tuuid: {
    fits: ["123e4567e89b12d3a456426614174000"],
    breaks: ["", "123e4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a45642661417400g"],
  },
  ulid: {
    fits: ["01ARZ3NDEKTSV4RRFFQ69G5FAV"],
    breaks: ["", "01ARZ3NDEKTSV4RRFFQ69G5FA", "81ARZ3NDEKTSV4RRFFQ69G5FAU"],
  },
};
