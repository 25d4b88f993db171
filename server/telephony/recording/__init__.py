"""Recording a telephone call, once its caller has been told and has agreed."""
