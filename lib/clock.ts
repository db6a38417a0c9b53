/** The time now, in milliseconds since 1970-01-01T00:00:00Z. Handed in, so that tests decide what time it is. */
export type Clock = () => number;

export const systemClock: Clock = () => Date.now();

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
