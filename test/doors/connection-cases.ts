import type { Bed, Way } from './support/bed.ts'
export function connectionCases(_way: Way, _bed: () => Bed): void {}
