"""Networks, and the two engines that train them: the torch engine has its gradients from autograd,
and the kernels engine has compiled loops, in `kernels/`, with the gradient of gamma written out.

`mlp` describes a network as a plain `torch.nn.Sequential` and draws its initial parameters. `norms`
holds the norms, each as PyTorch's module and stacked over runs. `stacked` puts several networks
into one module for the torch engine. `engine` says what an engine is, what it returns, and which
engine does a run's arithmetic. `torch_engine` trains with autograd and `torch.optim` (`optimizers`)
on any device, many runs at once; it is the reference. `stacked_recorder` collects what it records.
`kernels_engine` trains one run on the CPU with the compiled loops of `kernels/`, and is several
times faster there. `device` finds the device of `train.device`, `gradient_shift` measures internal
covariate shift for both engines, `running_statistics` holds batch norm's moving averages against
the training set, and `trained` reads the network of a run.

Imports from this room go to recording, data, files, config and errors. Read `mlp`, then `engine`.
"""
