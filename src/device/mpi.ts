// MPI, for the code above this folder: moves bytes between the processes of a launch.
export { findMpi, Mpi } from './native/mpi.ts';
