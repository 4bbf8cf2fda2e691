from funcnet.backprop.api import grad, value_and_grad, vjp
