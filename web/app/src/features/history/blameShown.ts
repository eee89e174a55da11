/** Whether editors show who wrote each line. It is one choice for all files, and forgotten with the page. */
import { Store } from '../../ui/store';

export const blameShown = new Store(false);
