export declare const values: Readonly<Record<string, () => unknown>>
