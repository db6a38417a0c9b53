/** What the store says of itself: its schema version and the client id that it belongs to. */
export interface SettingTable {
  name: string;
  value: string;
}
