// The exchange of gradients between ranks, with the sums of one process:
//   part i of a batch is computed by rank i % size, in round floor(i / size)
//   in a round, every rank sends each other rank its piece of the gradients; the owner of a piece adds what came, in the ranks' order
//   after the last round, the owners' sums go to all
// One process adds the gradients of parts 0, 1, 2, ... one after another, which is this order, so the bits are equal.
import type { Device } from '../../device/device.ts';
import { ConfigError, DeviceError } from '../../errors.ts';
import { accumulate } from '../../kernels/inner/accumulate.ts';
import { empty } from '../../tensor/create.ts';
import { keep, scope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { view } from '../../tensor/view.ts';
import type { Ranks } from './ranks.ts';

/** Most floats that travel at once, 25 MB: a large network needs no second copy of its gradients to send them. */
const BUCKET = 6.5e6;

/** Pieces begin at whole cache lines. */
const ALIGNED = 16;

/** A range of the gradients that travels at once. Counts and places are bytes, one a rank. */
interface Bucket {
  /** Lengths of the pieces and where they begin in the gradients. */
  bytes: Int32Array;
  begins: Int32Array;
  /** The address of its first float, and floats of this rank's piece. */
  from: number;
  own: number;
  /** Where the sum of this rank's piece is kept, in floats. */
  sum: number;
}

/**
 * @param parts the parts of a batch, `training.accumulation`
 * @throws ConfigError if there are more ranks than parts; DeviceError for a device whose kernels run elsewhere
 */
export function requireExchange({ size }: Ranks, parts: number, device: Device): asserts device is ExchangingDevice {
  if (parts < size)
    throw new ConfigError(
      `${size} ranks cannot share a batch of ${parts} part${parts === 1 ? '' : 's'}; give --config.training.accumulation ${size}, or a multiple of it`,
    );
  if (!device.hostWork)
    throw new DeviceError(`ranks exchange gradients of the devices cpu and wasm only, not of ${device.kind}`);
}

type ExchangingDevice = Device & Required<Pick<Device, 'hostWork'>>;

export class Exchange {
  /** The rounds of a step. */
  readonly rounds: number;
  private readonly ranks: Ranks;
  private readonly gradients: Tensor;
  private readonly parts: number;
  private readonly device: Device;
  /** Floats of the largest piece. */
  private readonly piece: number;
  private readonly buckets: readonly Bucket[];
  /** The sums of this rank's pieces, and what came from the ranks for one of them. */
  private readonly sums: Tensor;
  private readonly arrived: Tensor;
  private readonly scatter: (which: number) => void;
  private readonly collect: (which: number) => void;

  /**
   * @param gradients all gradients, flat, f32
   * @param parts the parts of a batch, `training.accumulation`
   * @throws as requireExchange
   */
  constructor(ranks: Ranks, gradients: Tensor, parts: number, device: Device) {
    const { size, rank } = ranks;
    requireExchange(ranks, parts, device);
    this.ranks = ranks;
    this.gradients = gradients;
    this.parts = parts;
    this.device = device;
    this.rounds = Math.ceil(parts / size);
    this.piece = Math.ceil(Math.min(BUCKET, gradients.size) / size / ALIGNED) * ALIGNED;
    const length = this.piece * size;
    let sum = 0;
    this.buckets = Array.from({ length: Math.ceil(gradients.size / length) }, (_, i) => {
      const first = i * length;
      const left = gradients.size - first;
      const begins = Int32Array.from({ length: size }, (_, k) => Math.min(k * this.piece, left));
      const floats = begins.map((begin) => Math.min(this.piece, left - begin));
      const bucket = {
        bytes: floats.map((count) => 4 * count),
        begins: begins.map((begin) => 4 * begin),
        from: gradients.address + 4 * first,
        own: floats[rank],
        sum,
      };
      sum += floats[rank];
      return bucket;
    });
    this.sums = keep(empty([Math.max(1, sum)], { device }));
    this.arrived = keep(empty([length], { device }));
    this.scatter = device.hostWork('ranks_scatter', (which) => this.sendRound(which));
    this.collect = device.hostWork('ranks_collect', (which) => this.sendSums(which));
  }

  /** The part that this rank computes in a round; undefined if the parts have run out. */
  partOf(round: number): number | undefined {
    const part = round * this.ranks.size + this.ranks.rank;
    return part < this.parts ? part : undefined;
  }

  /**
   * Adds the gradients of a round's parts to the sums. After the last round, the gradients are those of the whole batch on every rank.
   * It is work of the device, which can be recorded.
   */
  finishRound(round: number): void {
    const { device, gradients, buckets } = this;
    buckets.forEach((bucket, i) => {
      this.scatter(round * buckets.length + i);
      scope(() => this.addArrived(bucket, round));
    });
    if (round < this.rounds - 1) device.fill(gradients.address, 4 * gradients.size, 0);
    else for (const i of buckets.keys()) this.collect(i);
  }

  private addArrived({ own, sum }: Bucket, round: number): void {
    if (own === 0) return;
    for (let k = 0; k < this.senders(round); k++) {
      const piece = view(this.arrived, [own], k * this.piece);
      const total = view(this.sums, [own], sum);
      if (round === 0 && k === 0) this.device.copy(total.address, piece.address, 4 * own);
      else accumulate(total, piece);
    }
  }

  /** Ranks that have a part in a round: those before the end of the parts. */
  private senders(round: number): number {
    return Math.min(this.ranks.size, this.parts - round * this.ranks.size);
  }

  private sendRound(which: number): void {
    const { ranks, buckets } = this;
    const { bytes, begins, from, own } = buckets[which % buckets.length];
    const senders = this.senders(Math.floor(which / buckets.length));
    const sent = ranks.rank < senders ? bytes : bytes.map(() => 0);
    const arriving = bytes.map((_, k) => (k < senders ? 4 * own : 0));
    const places = bytes.map((_, k) => 4 * k * this.piece);
    ranks.mpi.scatter(from, sent, begins, this.arrived.address, arriving, places);
  }

  private sendSums(which: number): void {
    const { bytes, begins, from, own, sum } = this.buckets[which];
    this.ranks.mpi.collect(this.sums.address + 4 * sum, 4 * own, from, bytes, begins);
  }

  [Symbol.dispose](): void {
    this.sums.dispose();
    this.arrived.dispose();
  }
}
