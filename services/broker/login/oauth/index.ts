/** Signing in at an OAuth2 or OpenID Connect provider. */
export { createGithubProvider, type GithubProviderSettings } from "./github-provider.ts";
export { createOidcProvider, type OidcProviderSettings } from "./oidc-provider.ts";
export { oauthProviders, type ProviderSettings } from "./provider-settings.ts";
export { AnswerRefused, ConsentRefused, type IdentityProvider } from "./provider.ts";
export { type OauthLoginRequest, type OauthParts, startOauthLogin } from "./start-oauth-login.ts";
export { goToProvider, returnFromProvider } from "./visit-provider.ts";
