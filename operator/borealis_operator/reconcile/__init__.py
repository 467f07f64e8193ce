"""One pass of one DBCluster: observe, plan, execute; and the kicks that call for the next one."""
