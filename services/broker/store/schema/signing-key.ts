/** A signing key: the public JWK as JSON, the private one as the key sealer made it. */
export interface SigningKeyTable {
  kid: string;
  purpose: string;
  public_jwk: string;
  private_key: string;
  created_at: number;
  active_from: number;
}
